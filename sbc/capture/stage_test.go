package capture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"sallyport/media"
	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/api"
	"sallyport/sbc/scan"
	"sallyport/sbc/trace"
	"sallyport/sbc/tu"
)

var (
	provider = netip.MustParseAddrPort("203.0.113.20:5060")
	stranger = netip.MustParseAddrPort("192.0.2.66:5060")
	node     = netip.MustParseAddrPort("10.0.0.5:5080")
	sound    = netip.MustParseAddrPort("203.0.113.20:4000")
	door     = netip.MustParseAddrPort("203.0.113.10:30000")

	outside = face(nat.Outside, "203.0.113.10:5080")
	inside  = face(nat.Inside, "10.0.0.2:5080")
)

func face(side nat.Side, at string) *nat.Interface {
	bind := netip.MustParseAddrPort(at)
	return &nat.Interface{Side: side, Realm: nat.Trunks, Bind: bind, Advertised: bind}
}

// stage is a program without anything but what captures ask it.
type stage struct {
	set   *Set
	turn  sync.Mutex
	calls map[tu.UserID]*staged
	taps  []string // what the relay has been told
	rules *policy.Rules
	over  bool // the core takes no turns any more
	said  *observer.ObservedLogs
}

// staged is a call of it.
type staged struct {
	view    View
	streams []media.ID
}

func (c *staged) Is(name string) bool {
	return name != "" && (c.view.ID == name || slices.Contains(c.view.CallIDs, name))
}

func (c *staged) View() View { return c.view }

func newStage() *stage {
	s := &stage{calls: map[tu.UserID]*staged{}}
	core, said := observer.New(zap.InfoLevel)
	s.said = said
	s.set = New(Options{Program: s, Now: time.Now, Log: zap.New(core)})
	return s
}

var errOver = errors.New("the program ends")

func (s *stage) Do(ctx context.Context, f func(time.Time)) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	if s.over {
		return errOver
	}
	f(time.Now())
	return ctx.Err()
}

func (s *stage) Calls() iter.Seq2[tu.UserID, Call] {
	return func(yield func(tu.UserID, Call) bool) {
		for _, id := range slices.Sorted(maps.Keys(s.calls)) {
			if !yield(id, s.calls[id]) {
				return
			}
		}
	}
}

func (s *stage) Streams(id tu.UserID) []media.ID { return s.calls[id].streams }

func (s *stage) Tap(id media.ID, forms media.Tap) error {
	s.taps = append(s.taps, fmt.Sprintf("%d %d", id, forms))
	return nil
}

func (s *stage) Phone(_ context.Context, word string) (string, bool) {
	user, _, _ := strings.Cut(word, "@")
	return user + "@example.com", user == "204"
}

func (s *stage) Serves(host string) bool { return strings.EqualFold(host, "example.com") }

func (s *stage) Rules() *policy.Rules { return s.rules }

// told are the relay's orders since the last time.
func (s *stage) told() string {
	out := strings.Join(s.taps, ", ")
	s.taps = nil
	return out
}

// call puts one up: its legs are those of the provider and of the node.
func (s *stage) call(id tu.UserID, streams ...media.ID) *staged {
	c := &staged{View{
		ID: fmt.Sprint("call-", id), CallIDs: []string{fmt.Sprint("out-", id), fmt.Sprint("in-", id)}, Ends: []string{provider.String(), node.String()},
	}, streams}
	s.calls[id] = c
	return c
}

// begin begins a capture as Run does, and leaves the writing to the test.
func (s *stage) begin(t *testing.T, q api.CaptureRequest) *capture {
	t.Helper()
	what, err := s.set.subject(t.Context(), q.Subject)
	if err != nil {
		t.Fatal(err)
	}
	q.Max = 1 << 30
	c, err := s.set.begin(&q, what)
	if err != nil {
		t.Fatal(err)
	}
	s.set.survey(c)
	return c
}

// compile gives the program so many message rules; number is what a verdict calls one of them.
func (s *stage) compile(t *testing.T, n int) (number func(i int) int32) {
	t.Helper()
	var cfg policy.Config
	for i := range n {
		cfg.MessageRules = append(cfg.MessageRules, policy.MessageRuleConfig{Name: fmt.Sprint("rule ", i), Methods: []string{"INVITE"}})
	}
	var err error
	if s.rules, err = policy.Compile(&cfg, policy.Data{}); err != nil {
		t.Fatal(err)
	}
	return func(i int) int32 {
		for n := int32(0); ; n++ {
			r, ok := s.rules.Rule(n)
			if !ok {
				t.Fatalf("no message rule %d", i)
			}
			if r.Path == rulePath(i) {
				return n
			}
		}
	}
}

func rulePath(i int) string { return fmt.Sprintf("policy.message_rules[%d]", i) }

// allowed is a verdict that no rule has a part in.
func allowed() *policy.Verdict {
	return &policy.Verdict{Action: policy.Allow, Rule: -1, Shadow: -1, Alarm: -1}
}

// sip is a message of a Call-ID, a request by its method or an answer by its code.
func sip(start, callID string, lines ...string) []byte {
	first := start + " sip:a@b SIP/2.0"
	if start[0] <= '9' {
		first = "SIP/2.0 " + start + " Said"
	}
	lines = append([]string{first, "Via: SIP/2.0/UDP x;branch=z9hG4bK1", "Call-ID: " + callID, "CSeq: 1 INVITE"}, lines...)
	return []byte(strings.Join(lines, "\r\n") + "\r\n\r\n")
}

var plain = []string{"From: <sip:a@b>;tag=1", "To: <sip:a@b>"}

// came is a message as a reader shows it.
func came(from netip.AddrPort, b []byte) *policy.Packet {
	var v scan.View
	p := policy.Packet{Now: time.Now(), Interface: outside, Source: from, Data: b, View: &v}
	p.ScanErr = scan.Scan(b, &v)
	return &p
}

// noted is what a capture has got since the last time, one line each.
func noted(c *capture) (out []string) {
	for _, p := range c.queue.take() {
		out = append(out, text(&p))
	}
	return out
}

func text(p *trace.Packet) string {
	first, _, _ := bytes.Cut(p.Data, []byte("\r\n"))
	line := fmt.Sprintf("%s > %s %s", p.From, p.To, first)
	if p.Comment != "" {
		line += " | " + p.Comment
	}
	return line
}

func equal(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
