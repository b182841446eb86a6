package exchange

import (
	"testing"

	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// TestRulesOfPeers: requests outside of dialogs, their answers, and ours, meet the rules of the phone that sends them.
func TestRulesOfPeers(t *testing.T) {
	rules := &tu.Rules{
		Inbound: []tu.Rule{{Header: "X-Origin", Value: "roaming"}, {Header: "Subject", Action: tu.RuleRemove}}, Outbound: []tu.Rule{{Header: "X-Gate", Value: "1"}},
		CodesOut: []tu.Code{{From: 404, To: 480}, {From: 503, To: 500}},
	}
	said := map[*stage]*message.Message{}
	note := func(s *stage, do []tu.Action) {
		for _, a := range do {
			if r, is := a.(tu.Respond); is {
				said[s] = r.Msg
			}
		}
	}
	ask := func(routed tu.Routed) *stage {
		s := newStage(t, "phone1")
		s.hop.Peer.Rules = rules
		m := s.request("MESSAGE")
		m.Add("Subject", "s")
		m.Add("Privacy", "id") // the PBX is trusted
		s.step(s.arrive(m))
		note(s, s.step(routed))
		return s
	}
	s := ask(tu.Routed{Hops: []tu.Hop{stageHop("pbx1")}})
	out := s.clients[0].msg
	if v, _ := out.Get("X-Origin"); v != "roaming" {
		t.Errorf("%v", out.Headers)
	}
	if _, has := out.Get("Subject"); has || out.From.URI.User != "204" {
		t.Errorf("%v %v", out.From, out.Headers)
	}
	note(s, s.step(s.response(1, 404)))
	own := ask(tu.Routed{Code: 503})
	for name, x := range map[string]*stage{"passed": s, "our own": own} {
		want := map[string]int{"passed": 480, "our own": 500}[name]
		m := said[x]
		if m == nil || m.Status != want {
			t.Errorf("%s: %v", name, m)
		} else if v, _ := m.Get("X-Gate"); v != "1" {
			t.Errorf("%s: %v", name, m.Headers)
		}
	}
}
