package tu

import (
	"testing"

	"pgregory.net/rapid"

	"sallyport/sbc/reason"
)

func TestUntaken(t *testing.T) {
	for _, c := range []struct {
		kind Kind
		code int
		why  reason.Reason
		want int
		as   reason.Reason
	}{
		{KindNode, 408, reason.Timeout, 503, reason.NoPBX},
		{KindNode, 503, reason.NoRoute, 503, reason.NoPBX},
		{KindNode, 503, reason.NoCapacity, 503, reason.NoCapacity},
		{KindNode, 503, reason.Overload, 503, reason.Overload}, // ours, whoever the hop is
		{KindNode, 404, reason.NoRoute, 404, reason.NoRoute},
		{KindPhone, 408, reason.Timeout, 480, reason.Timeout},
		{KindPhone, 503, reason.NotRegistered, 480, reason.NotRegistered},
		{KindPhone, 503, reason.Overload, 503, reason.Overload},
		{KindPhone, 486, reason.NoCapacity, 486, reason.NoCapacity},
		{KindTrunk, 408, reason.Timeout, 408, reason.Timeout},
		{KindTrunk, 503, reason.NoRoute, 503, reason.NoRoute},
	} {
		code, why := Untaken(&Hop{Peer: &Peer{Kind: c.kind}}, c.code, c.why)
		if code != c.want || why != c.as {
			t.Errorf("%v, %d %v: %d %v, want %d %v", c.kind, c.code, c.why, code, why, c.want, c.as)
		}
	}
	if code, why := Untaken(&Hop{}, 503, reason.NoRoute); code != 503 || why != reason.NoRoute {
		t.Errorf("no hop at all: %d %v", code, why)
	}
}

func TestRefusal(t *testing.T) {
	for _, c := range []struct {
		code int
		why  reason.Reason
		want int
		wait bool
	}{
		{408, reason.Timeout, 504, false}, // RFC 4320 §4.2
		{408, reason.NoPBX, 504, false},
		{503, reason.NoPBX, 503, true},
		{503, reason.Overload, 503, true},
		{503, reason.Draining, 503, true},
		{503, reason.NoCapacity, 503, false}, // one trunk's or phone's, not the gate's
		{503, reason.NoRoute, 503, false},
		{404, reason.NoPBX, 404, false},
		{480, reason.NotRegistered, 480, false},
		{0, reason.NoPBX, 503, true},
		{200, reason.NoRoute, 503, false},
		{700, reason.NoRoute, 503, false},
	} {
		code, extra := Refusal(c.code, c.why)
		if code != c.want || (len(extra) == 1) != c.wait {
			t.Errorf("%d %v: %d %v, want %d, Retry-After %v", c.code, c.why, code, extra, c.want, c.wait)
		}
		if c.wait && (extra[0].Name != "Retry-After" || extra[0].Value != RetryAfter) {
			t.Errorf("%d %v: %v", c.code, c.why, extra)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		code, extra := Refusal(rapid.Int().Draw(t, "code"), reason.NoPBX)
		if code < 300 || code > 699 || code == 408 || len(extra) > 0 && code != 503 {
			t.Fatalf("answered %d %v", code, extra)
		}
	})
}
