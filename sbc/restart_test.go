package sbc_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"sallyport/media/sim"
	"sallyport/nat"
	"sallyport/nat/natlab"
	"sallyport/sbc"
	"sallyport/sbc/api"
	"sallyport/sbc/demo"
	"sallyport/sbc/transport"
)

// memory is a State that fails when told to.
type memory struct {
	mu     sync.Mutex
	values map[string][]byte
	broken error
	puts   int
}

func (m *memory) Load(each func(string, []byte)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, v := range m.values {
		each(k, bytes.Clone(v))
	}
	return m.broken
}

func (m *memory) Put(batch map[string][]byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.puts++
	if m.broken != nil {
		return m.broken
	}
	if m.values == nil {
		m.values = map[string][]byte{}
	}
	for k, v := range batch {
		if v == nil {
			delete(m.values, k)
		} else {
			m.values[k] = bytes.Clone(v)
		}
	}
	return nil
}

func (m *memory) Close() error { return nil }

// copied is what a crash would leave.
func (m *memory) copied() *memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &memory{values: maps.Clone(m.values)}
}

func (m *memory) len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.values)
}

func (m *memory) breaks(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.broken = err
}

// keptBy makes a gate keep its bindings.
func keptBy(state sbc.State, names [16]byte) func(*sbc.Options) {
	return func(o *sbc.Options) { o.State, o.Names = state, names }
}

var keptNames = [16]byte{7, 7, 7}

// stops ends the gate as an administrator does.
func (l *lab) stops() {
	l.t.Helper()
	l.stopGate()
	l.gateGone.Wait()
	synctest.Wait() // others wait for it, too
}

// starts runs another gate at the place of the one that has ended, with other secrets of its own.
func (l *lab) starts(yaml string, change func(*sbc.Options)) error {
	l.t.Helper()
	opt := sbc.Options{
		Relay: sim.New(nil, l.sounds.take), Records: &l.cdrs, Key: [16]byte{9, 9, 9}, Tables: fewSources,
		Listen:       func(at netip.AddrPort) (transport.PacketConn, error) { return l.listen(at) },
		ListenStream: func(at netip.AddrPort) (net.Listener, error) { return l.net.Host(at.Addr()).ListenStream(at) },
		Dial: func(ctx context.Context, local netip.Addr, remote netip.AddrPort) (net.Conn, error) {
			return l.net.Host(local).DialStream(ctx, netip.AddrPortFrom(local, 0), remote)
		},
	}
	change(&opt)
	gate, err := sbc.New(parse(l.t, yaml), opt)
	if err != nil {
		return err
	}
	l.gate = gate
	ctx, stop := context.WithCancel(l.ctx)
	l.stopGate = stop
	l.gateGone.Go(func() { gate.Run(ctx) })
	l.running.Go(l.gateGone.Wait)
	return nil
}

// binding is the one binding of a user.
func (l *roaming) binding(user string) api.Registration {
	l.t.Helper()
	list, err := l.gate.Control(nil).Registrations(l.ctx, user)
	if err != nil || len(list) != 1 {
		l.t.Fatalf("bindings of %s: %+v (%v)", user, list, err)
	}
	return list[0]
}

// visits counts the REGISTERs that reach the PBX.
func (l *roaming) visits() func() int {
	n := 0
	l.pbx.Do(func() { l.registrar.Heard = func(demo.Visit) { n++ } })
	return func() int {
		got := make(chan int)
		l.pbx.Do(func() { got <- n })
		return <-got
	}
}

// TestBindingsOutliveARestart: a UDP phone is reached, and calls, right after it, without a REGISTER; a TCP phone is 480
// until it is back. Their names at the PBX stay.
func TestBindingsOutliveARestart(t *testing.T) {
	for _, how := range []string{"stopped, in memory", "crashed, in memory", "stopped, on disk"} {
		t.Run(how, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				first, names := sbc.State(&memory{}), keptNames
				onDisk := strings.HasSuffix(how, "disk")
				open := func() {
					var err error
					if first, names, err = sbc.OpenState(dir); err != nil {
						t.Fatal(err)
					}
				}
				if onDisk {
					open()
				}
				l := newRoaming(t, roamingConfig, natlab.Options{Seed: 5}, keptBy(first, names))
				defer l.close()
				home := l.home(7, natlab.NATOptions{Mapping: natlab.AddressAndPortDependent, Filtering: natlab.AddressAndPortDependent, UDPTimeout: 2 * time.Minute})
				udp := l.phone(home.Host(private), "204", 5060, nat.UDP)
				host := home.Host(private.Next())
				tcp := l.phone(host, "205", 5060, nat.TCP)
				for _, a := range []*demo.Agent{udp, tcp} {
					a.Incoming = scriptOf(demo.Script{Ring: 100 * time.Millisecond, Answer: time.Second}, sdpAt(private, 4000))
				}
				l.pbx.Incoming = scriptOf(demo.Script{Answer: time.Second}, sdpAt(pbxAt.Addr(), 4002))
				bound, _ := l.register(udp, demo.RegisterOptions{Instance: "urn:uuid:204"})
				second, _ := l.register(tcp, demo.RegisterOptions{})
				time.Sleep(2 * time.Second)
				before := []api.Registration{l.binding("204"), l.binding("205")}
				visits := l.visits()

				next := first
				if m, ok := first.(*memory); ok && strings.HasPrefix(how, "crashed") {
					next = m.copied()
				}
				l.stops()
				if onDisk {
					open()
					next = first
				}
				if err := l.starts(roamingConfig, keptBy(next, names)); err != nil {
					t.Fatal(err)
				}
				l.reachableAtOnce(udp, before)
				if n := visits(); n != 0 {
					t.Errorf("%d REGISTERs were needed for that", n)
				}
				stream, err := l.dial(host)
				if err != nil {
					t.Fatal(err)
				}
				tcp.Do(func() { tcp.Rebind(stream); second.Now() })
				time.Sleep(time.Second)
				if r := l.ring("205", demo.Script{SDP: sdpAt(pbxAt.Addr(), 4004), Hangup: time.Second}); r.Code != 200 {
					t.Errorf("the TCP phone that is back: %d (%s)", r.Code, r.Why)
				}
				if b := l.binding("205"); b.Lost || b.Token != before[1].Token || !b.Since.Equal(before[1].Since) {
					t.Errorf("binding %+v, before the restart %+v", b, before[1])
				}
				time.Sleep(10 * time.Minute) // refreshed as ever, and pinged
				for i, user := range []string{"204", "205"} {
					if b := l.binding(user); b.Token != before[i].Token || b.Lost || !b.Expires.After(time.Now()) {
						t.Errorf("ten minutes later: %+v", b)
					}
				}
				udp.Do(bound.End)
				tcp.Do(second.End)
				l.empty()
				if m, ok := next.(*memory); l.gate.Gauges().Bindings != 0 || ok && m.len() != 0 {
					t.Errorf("both have left, and still there are %v", l.registered())
				}
			})
		})
	}
}

func (l *roaming) reachableAtOnce(udp *demo.Agent, before []api.Registration) {
	l.t.Helper()
	r := l.ring("204", demo.Script{SDP: sdpAt(pbxAt.Addr(), 4004), Hangup: time.Second})
	if r.Code != 200 {
		l.t.Errorf("a call to the UDP phone after the restart: %d (%s)", r.Code, r.Why)
	}
	if r = l.call(udp, phoneSocket, "100", demo.Script{SDP: sdpAt(private, 4000), Hangup: time.Second}); r.Code != 200 {
		l.t.Errorf("a call of the UDP phone after the restart: %d (%s)", r.Code, r.Why)
	}
	if r = l.ring("205", demo.Script{SDP: sdpAt(pbxAt.Addr(), 4004)}); r.Code != 480 {
		l.t.Errorf("the TCP phone without its connection: %d (%s), want 480", r.Code, r.Why)
	}
	for i, user := range []string{"204", "205"} {
		b, was := l.binding(user), before[i]
		if b.Token != was.Token || b.Flow != was.Flow || b.Contact != was.Contact || b.Node != was.Node || !b.Expires.Equal(was.Expires) ||
			!b.ExpiresPBX.Equal(was.ExpiresPBX) || !b.Since.Equal(was.Since) || b.UserAgent != was.UserAgent || b.NAT != was.NAT ||
			b.Interface != was.Interface {
			l.t.Errorf("binding after the restart %+v\nbefore %+v", b, was)
		}
		if b.Lost != (user == "205") {
			l.t.Errorf("%s: lost %v", user, b.Lost)
		}
	}
	if g := l.gate.Gauges(); g.Bindings != 2 {
		l.t.Errorf("%d bindings", g.Bindings)
	}
}

// TestWhatHasGoneIsNotKept: a phone that left before, one whose time ran out while the gate was down (without grace), and one of
// a listener that is gone are unknown after a restart, to the gate and, soon, to its state.
func TestWhatHasGoneIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state, yaml := &memory{}, throttled(t, roamingConfig, "0s", "10m", "0s")
		l := newRoaming(t, yaml, natlab.Options{Seed: 5}, keptBy(state, keptNames))
		defer l.close()
		home := l.home(7, natlab.NATOptions{})
		left := l.phone(home.Host(private), "204", 5060, nat.UDP)
		stays := l.phone(home.Host(private.Next()), "205", 5060, nat.UDP)
		other := l.phone(home.Host(private.Prev()), "206", 5060, nat.TCP)
		r, _ := l.register(left, demo.RegisterOptions{})
		bound, _ := l.register(stays, demo.RegisterOptions{})
		_, _ = l.register(other, demo.RegisterOptions{})
		left.Do(r.End)
		time.Sleep(3 * time.Second)
		if n := state.len(); n != 2 {
			t.Errorf("%d values are kept of two phones", n)
		}
		stays.Do(bound.Stop)
		l.stops()
		state.mu.Lock()
		state.values["junk"], state.values["short"], state.values["none"] = []byte("\x80\x80\x80junk"), []byte{200, 1}, nil
		state.mu.Unlock()
		time.Sleep(2 * time.Minute)
		if err := l.starts(rewritten(t, yaml, "phones: { udp: 5060, tcp: 5060 }", "phones: { udp: 5060 }"), keptBy(state, keptNames)); err != nil {
			t.Fatal(err)
		}
		if g := l.gate.Gauges(); g.Bindings != 0 {
			t.Errorf("%d bindings: %v", g.Bindings, l.registered())
		}
		for _, user := range []string{"205", "206"} {
			if out := l.ring(user, demo.Script{SDP: sdpAt(pbxAt.Addr(), 4004)}); out.Code != 404 {
				t.Errorf("%s is met with %d (%s), want 404: its token is unknown", user, out.Code, out.Why)
			}
		}
		time.Sleep(5 * time.Second)
		if n := state.len(); n != 0 {
			t.Errorf("%d values are kept for ever", n)
		}
	})
}

// TestAnUnreadableStateIsAnError with the path and what to do, and the sockets are free again.
func TestAnUnreadableStateIsAnError(t *testing.T) {
	good := func(t *testing.T, dir string) {
		s, _, err := sbc.OpenState(dir)
		if err == nil {
			err = s.Put(map[string][]byte{"a": bytes.Repeat([]byte("x"), 9000)})
		}
		if err = errors.Join(err, s.Close()); err != nil {
			t.Fatal(err)
		}
	}
	spoil := func(name string, edit func([]byte) []byte) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			good(t, dir)
			path := filepath.Join(dir, name)
			b, err := os.ReadFile(path)
			if err == nil {
				err = os.WriteFile(path, edit(b), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, tt := range []struct {
		name, path string
		spoil      func(*testing.T, string)
	}{
		{"no database", "bindings.db", spoil("bindings.db", func([]byte) []byte { return []byte("not a database, but long enough for one page\n") })},
		{"cut", "bindings.db", spoil("bindings.db", func(b []byte) []byte { return b[:len(b)/3] })},
		{"its heads are zero", "bindings.db", spoil("bindings.db", func(b []byte) []byte { clear(b[:2*os.Getpagesize()]); return b })},
		{"all but its heads is junk", "bindings.db", spoil("bindings.db", func(b []byte) []byte {
			for i := range b[2*os.Getpagesize():] {
				b[2*os.Getpagesize()+i] = byte(i*7 + 1)
			}
			return b
		})},
		{"a short key", "names.key", spoil("names.key", func(b []byte) []byte { return b[:7] })},
		{"a directory", "bindings.db", func(t *testing.T, dir string) {
			if err := os.Mkdir(filepath.Join(dir, "bindings.db"), 0o700); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			tt.spoil(t, dir)
			state, _, err := sbc.OpenState(dir)
			if err == nil {
				err = state.Load(func(string, []byte) {})
				err = errors.Join(err, state.Close())
			}
			if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, tt.path)) || !strings.Contains(err.Error(), "hint:") {
				t.Errorf("says %v", err)
			}
			t.Log(err)
		})
	}
	synctest.Test(t, func(t *testing.T) {
		l := newRoaming(t, roamingConfig, natlab.Options{Seed: 5}, keptBy(&memory{}, keptNames))
		defer l.close()
		l.stops()
		err := l.starts(roamingConfig, keptBy(&memory{broken: errors.New("a bad block")}, keptNames))
		if err == nil || !strings.Contains(err.Error(), "registrations") || !strings.Contains(err.Error(), "a bad block") {
			t.Errorf("says %v", err)
		}
		if err := l.starts(roamingConfig, keptBy(&memory{}, keptNames)); err != nil {
			t.Errorf("after the failure: %v", err)
		}
	})
}

// TestAStateThatCannotBeWritten is told of once, and tried again until it works. Phones notice nothing.
func TestAStateThatCannotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen, logs := observer.New(zapcore.InfoLevel)
		state := &memory{broken: errors.New("no space left on device")}
		l := newRoaming(t, roamingConfig, natlab.Options{Seed: 5}, func(o *sbc.Options) {
			state.broken = nil // New loads from it
			keptBy(state, keptNames)(o)
			o.Log = zap.New(seen)
		})
		defer l.close()
		state.breaks(errors.New("no space left on device"))
		home := l.home(7, natlab.NATOptions{})
		phone := l.phone(home.Host(private), "204", 5060, nat.UDP)
		phone.Incoming = scriptOf(demo.Script{Answer: time.Second}, sdpAt(private, 4000))
		if _, out := l.register(phone, demo.RegisterOptions{}); out.Code != 200 {
			t.Errorf("the phone heard %d", out.Code)
		}
		time.Sleep(5 * time.Minute)
		if r := l.ring("204", demo.Script{SDP: sdpAt(pbxAt.Addr(), 4004), Hangup: time.Second}); r.Code != 200 {
			t.Errorf("a call to it: %d (%s)", r.Code, r.Why)
		}
		state.mu.Lock()
		tries := state.puts
		state.mu.Unlock()
		said := func(level zapcore.Level, text string) int {
			return logs.Filter(func(e observer.LoggedEntry) bool { return e.Level == level && strings.Contains(e.Message, text) }).Len()
		}
		if tries < 100 || state.len() != 0 || said(zapcore.ErrorLevel, "registrations cannot be kept") != 1 || said(zapcore.InfoLevel, "kept again") != 0 {
			t.Errorf("%d tries, %d values, told %d times", tries, state.len(), said(zapcore.ErrorLevel, "registrations cannot be kept"))
		}
		state.breaks(nil)
		time.Sleep(2 * time.Second)
		if state.len() != 1 || said(zapcore.InfoLevel, "registrations are kept again") != 1 {
			t.Errorf("%d values, told %d times of the repair", state.len(), said(zapcore.InfoLevel, "kept again"))
		}
		kept := state.copied()
		l.stops()
		if err := l.starts(roamingConfig, keptBy(kept, keptNames)); err != nil {
			t.Fatal(err)
		}
		if r := l.ring("204", demo.Script{SDP: sdpAt(pbxAt.Addr(), 4004), Hangup: time.Second}); r.Code != 200 {
			t.Errorf("after a restart: %d (%s)", r.Code, r.Why)
		}
	})
}
