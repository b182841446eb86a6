package event

import (
	"testing"

	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// TestRulesOfPeers: SUBSCRIBE, NOTIFY and their answers meet the rules of the phone that watches.
func TestRulesOfPeers(t *testing.T) {
	s := newStage(t, "phone1")
	s.hop[subscriber].Peer.Rules = &tu.Rules{
		Inbound: []tu.Rule{{Header: "X-In", Value: "1"}}, Outbound: []tu.Rule{{Header: "X-Out", Value: "1"}, {Header: "Event", Action: tu.RuleRemove}},
	}
	has := func(what string, m *message.Message, name string, want bool) {
		t.Helper()
		if _, is := m.Get(name); is != want {
			t.Errorf("%s: %s %v in %v", what, name, is, m.Headers)
		}
	}
	answered := func(do []tu.Action) *message.Message {
		for _, a := range do {
			if r, is := a.(tu.Respond); is {
				return r.Msg
			}
		}
		t.Fatal("no answer")
		return nil
	}
	s.step(s.arrive(subscriber, s.first("SUBSCRIBE")))
	s.step(tu.Routed{Hops: []tu.Hop{stageHop("pbx1")}})
	x := s.last(notifier)
	has("SUBSCRIBE", x.msg, "X-In", true)
	has("SUBSCRIBE", x.msg, "X-Out", false)
	m := answered(s.step(s.response(x, 200, "x")))
	has("its answer", m, "X-Out", true)
	s.step(s.arrive(notifier, s.request(notifier, "NOTIFY", "x")))
	n := s.last(subscriber)
	has("NOTIFY", n.msg, "X-Out", true)
	has("NOTIFY", n.msg, "Event", true) // no rule can name it
	m = answered(s.step(s.response(n, 200, "")))
	has("its answer", m, "X-In", true)
	s.step(tu.Hangup{})
}
