package sbc_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket/pcapgo"

	"sallyport/nat/natlab"
	"sallyport/policy/replay"
	"sallyport/sbc"
	"sallyport/sbc/trace"
)

// wiretap is all that crosses the network of a lab, as tcpdump would have it: both sides of the gate, as it is on the wire.
type wiretap struct {
	mu   sync.Mutex
	text bytes.Buffer
	file *trace.File
	err  error
}

func (t *wiretap) note(d natlab.Datagram) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.err = errors.Join(t.err, t.file.Write(&trace.Packet{At: d.At, Face: "any", From: d.Src, To: d.Dst, Length: len(d.Payload), Data: d.Payload}))
}

func (t *wiretap) end() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := errors.Join(t.err, t.file.End(0)); err != nil {
		panic(err)
	}
	return bytes.Clone(t.text.Bytes())
}

// asReplayed keeps what crosses the network from now on. What it returns runs that, and what the flight recorder has, through the rules
// of a configuration, and compares all that the guard did with what it did in the running program.
func (l *lab) asReplayed(yaml string) (compare func()) {
	l.t.Helper()
	kept := &wiretap{}
	kept.file = trace.NewFile(&kept.text, "lab", "")
	const way = time.Millisecond // else all is at one moment, and nobody can tell what came first
	l.net.Impair(netip.Addr{}, netip.Addr{}, natlab.Link{Delay: way})
	l.net.Observe(func(d natlab.Datagram) {
		l.ladder.note(d)
		if d.Dst.Addr() == gateOutside || d.Dst.Addr() == gateInside {
			d.At = d.At.Add(way) // the capture is made where the gate is
		}
		kept.note(d)
	})
	return func() {
		l.t.Helper()
		if l.t.Failed() {
			return
		}
		time.Sleep(time.Second) // what was sent last is under way
		want, recorded := l.lived()
		for name, capture := range map[string][]byte{"the flight recorder": recorded, "the wire": kept.end()} {
			open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(capture)), nil }
			report, err := sbc.Replay(l.ctx, open, parse(l.t, yaml))
			if err != nil {
				l.t.Fatal(err)
			}
			if d := cmp.Diff(want, replayed(report, time.Now()), cmp.AllowUnexported(lived{})); d != "" {
				l.t.Errorf("the replay of %s differs from what happened (-happened +replayed):\n%s\n%s", name, d, report.Text(time.UTC))
			}
		}
	}
}

// lived is what became of everybody.
type lived struct {
	bans  []string
	fates map[string]int // source and verdict: how often
}

// lived is what happened, and what the flight recorder has of it.
func (l *lab) lived() (lived, []byte) {
	l.t.Helper()
	var recorded bytes.Buffer
	if err := l.gate.Control(nil).Record(l.ctx, &recorded); err != nil {
		l.t.Fatal(err)
	}
	return lived{bans: l.bansMade(), fates: fatesOf(l.t, recorded.Bytes())}, recorded.Bytes()
}

// has reports whether a fate, or the beginning of a ban, is among what happened.
func (x *lived) has(what string) bool {
	return x.fates[what] > 0 || slices.ContainsFunc(x.bans, func(b string) bool { return strings.HasPrefix(b, what) })
}

// bansMade are the bans in force, with all that is told of them.
func (l *lab) bansMade() (out []string) {
	l.t.Helper()
	list, err := l.gate.Control(nil).Bans(l.ctx)
	if err != nil {
		l.t.Fatal(err)
	}
	for i := range list {
		b := &list[i]
		out = append(out, fmt.Sprintf("%s from %s to %s: %s; %s", b.Target(), b.Since.UTC(), b.Until.UTC(), b.Comment, strings.Join(b.Evidence, "; ")))
	}
	slices.Sort(out)
	return out
}

// fatesOf are the verdicts that the flight recorder has noted.
func fatesOf(t *testing.T, dump []byte) map[string]int {
	t.Helper()
	r, err := pcapgo.NewNgReader(bytes.NewReader(dump), pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int{}
	for {
		data, _, opts, err := r.ReadPacketDataWithOptions()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if opts.Flags != nil && opts.Flags.Direction == pcapgo.NgEpbFlagDirectionInbound {
			why, refused := strings.CutPrefix(strings.Join(opts.Comments, ""), "refused: ")
			out[fate(netip.AddrFrom4([4]byte(data[12:16])), refused, why)]++
		}
	}
}

func fate(source netip.Addr, refused bool, why string) string {
	if !refused {
		why = "allowed"
	}
	return source.String() + " " + why
}

// replayed is the same of a replay.
func replayed(p *replay.Report, now time.Time) lived {
	out := lived{fates: map[string]int{}}
	for i := range p.Sources {
		s := &p.Sources[i]
		if s.Allowed > 0 {
			out.fates[fate(s.Address, false, "")] = int(s.Allowed)
		}
		for _, r := range s.Refusals {
			out.fates[fate(s.Address, true, string(r.Reason))] += int(r.Count)
		}
	}
	for i := range p.Bans {
		b := &p.Bans[i]
		if !b.Until.After(now) {
			continue // it is no longer in force
		}
		target := strings.ReplaceAll(strings.TrimSuffix(b.Target, "/32"), " from ", " at ")
		if at, err := netip.ParseAddrPort(target); err == nil {
			target = fmt.Sprintf("%s port %d", at.Addr(), at.Port())
		}
		out.bans = append(out.bans, fmt.Sprintf("%s from %s to %s: %s; %s", target, b.At.UTC(), b.Until.UTC(), b.Reason, strings.Join(b.Evidence, "; ")))
	}
	slices.Sort(out.bans)
	return out
}
