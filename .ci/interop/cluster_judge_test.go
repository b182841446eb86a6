//go:build interop

package interop

import (
	"strings"
	"testing"
	"time"
)

// story is a call as the provider's wire has it, in seconds since 1970; 0: it has not been.
type story struct {
	id                           string
	begun, rings, answered, over float64
	byeAnswered                  float64
	refused                      string
}

// stories are the calls of the provider, by Call-ID.
func stories(all []packet) map[string]*story {
	list := map[string]*story{}
	for _, p := range choose(all, packet.sip, on(nsOutside), func(p packet) bool {
		return p.src.Addr().String() == provider || p.dst.Addr().String() == provider
	}) {
		id, cseq := p.header("Call-ID"), p.header("CSeq")
		s := list[id]
		first := func(at *float64) {
			if *at == 0 {
				*at = p.at
			}
		}
		switch {
		case strings.HasPrefix(p.start(), "INVITE ") && s == nil && p.own():
			list[id] = &story{id: id, begun: p.at}
		case s == nil:
		case strings.HasPrefix(p.start(), "BYE "):
			first(&s.over)
		case strings.HasSuffix(cseq, "BYE") && strings.HasPrefix(p.start(), "SIP/2.0 200"):
			first(&s.byeAnswered)
		case !strings.HasSuffix(cseq, "INVITE") || !strings.HasPrefix(p.start(), "SIP/2.0 "):
		case strings.HasPrefix(p.start(), "SIP/2.0 18"):
			first(&s.rings)
		case strings.HasPrefix(p.start(), "SIP/2.0 200"):
			first(&s.rings)
			first(&s.answered)
		case !strings.HasPrefix(p.start(), "SIP/2.0 1"):
			s.refused = p.start()
		}
	}
	return list
}

// judge looks at what became of every call, and at the REGISTERs.
func (r *watched) judge(t *testing.T, all []packet, drained float64, stood time.Duration) {
	t.Helper()
	calls := stories(all)
	between, during, slowest := 0, 0, 0.0
	for _, s := range calls {
		atDeath := s.begun < r.killed && (s.answered == 0 || s.answered > r.killed)
		talking := s.answered != 0 && s.answered < r.killed && s.over > r.killed
		switch {
		case atDeath: // it was being set up when the node died: how far it was nobody knows
			between++
			t.Logf("set up while the node died: %+v", *s)
			continue
		case s.refused != "" || s.answered == 0 || s.over == 0 || s.byeAnswered == 0:
			t.Errorf("a call is lost; killed at %.3f, drained at %.3f: %+v", r.killed, drained, *s)
		case s.over-s.answered < r.talk.Seconds()-0.1:
			t.Errorf("a call has been hung up after %.2f s: %+v", s.over-s.answered, *s)
		}
		if talking {
			during++
		}
		if s.begun > r.killed {
			slowest = max(slowest, s.rings-s.begun)
		}
	}
	t.Logf("%d calls, %d in progress when the node died, %d in the making; new ones rang after %.2f s at most; the machine stood still for %v at most",
		len(calls), during, between, slowest, stood.Round(time.Millisecond))
	if within := 2 + stood.Seconds(); slowest > within || during == 0 {
		t.Errorf("a call has rung after %.2f s, want %.2f at most; %d were in progress", slowest, within, during)
	}
	for _, left := range r.office.left() {
		t.Errorf("a call of the office has no end: %s", left)
	}
	r.recorded(t, 0, len(calls))
	r.paced(t, all, drained)
	noLeak(t, choose(all, func(p packet) bool { return p.at > r.killed-r.talk.Seconds() && p.at < r.killed+3 })) // of all it would take minutes
}

// paced looks at the REGISTERs of phones that moved to the node that came back, and at what phones heard.
func (r *watched) paced(t *testing.T, all []packet, drained float64) {
	t.Helper()
	var moments []float64
	there := map[string]bool{} // whom it has accepted by then: they may ask when they want
	for _, p := range choose(all, packet.sip, on(nsInside), func(p packet) bool { return p.at > r.revived }) {
		switch {
		case p.dst.Addr().String() == node1 && strings.HasPrefix(p.start(), "REGISTER ") && !there[p.header("Call-ID")]:
			moments = append(moments, p.at)
		case p.src.Addr().String() == node1 && strings.HasPrefix(p.start(), "SIP/2.0 200") && strings.HasSuffix(p.header("CSeq"), "REGISTER"):
			there[p.header("Call-ID")] = true
		}
	}
	exact, strict := densest(moments, 1), densest(moments, 0.95)
	each := map[int]int{}
	for _, at := range moments {
		each[int(at-drained)]++
	}
	t.Logf("%d REGISTERs of those who moved to the node that came back, at most %d in any second, %d in any 0.95 s; it takes %d; by the second since the other one is drained: %v",
		len(moments), exact, strict, r.pace, each)
	if strict > r.pace || len(moments) == 0 {
		t.Errorf("%d REGISTERs within 0.95 s, want %d at most", strict, r.pace)
	}
	heard, last := map[string]int{}, map[string]string{}
	for _, p := range choose(all, packet.sip, on(nsOutside), func(p packet) bool {
		return !p.own() && strings.HasPrefix(p.dst.Addr().String(), "198.18.") && len(p.start()) > 11
	}) {
		heard[p.start()]++
		id, code := p.header("Call-ID"), p.start()[:len("SIP/2.0 503")]
		if code == "SIP/2.0 503" && last[id] == "SIP/2.0 401" {
			t.Errorf("a phone that was asked for its password is sent away with it: %s", id)
		}
		if code != "SIP/2.0 100" {
			last[id] = code
		}
		if strings.HasPrefix(p.start(), "SIP/2.0 503") && p.header("Retry-After") == "" {
			heard["503 without Retry-After"]++
		}
	}
	t.Logf("phones heard %v", heard)
	for what := range heard {
		code, _, _ := strings.Cut(strings.TrimPrefix(what, "SIP/2.0 "), " ")
		if code != "200" && code != "401" && code != "100" && what != "SIP/2.0 503 Service Unavailable" {
			t.Errorf("a phone heard %s", what)
		}
	}
}
