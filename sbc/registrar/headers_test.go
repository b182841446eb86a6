package registrar

import (
	"testing"

	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// TestRulesOfPhones: a REGISTER and its answer meet the rules of phones; its names stay, for it is about them.
func TestRulesOfPhones(t *testing.T) {
	s := newStage(t)
	rules := &tu.Rules{
		Inbound:  []tu.Rule{{Header: "X-Origin", Value: "roaming"}, {Header: "From", Value: "<sip:1@x>"}, {Header: "Contact", Action: tu.RuleRemove}},
		Outbound: []tu.Rule{{Header: "Date", Action: tu.RuleRemove}, {Header: "X-Gate", Value: "1"}}, CodesOut: []tu.Code{{From: 404, To: 403}},
	}
	for _, p := range s.phones {
		for _, status := range []int{200, 404} {
			m := p.request()
			r, _ := s.start(p, m, &tu.Peer{Kind: tu.KindPhone, Rules: rules})
			s.step(r, tu.Routed{Hops: []tu.Hop{nodeHop("10.0.0.10:5060")}})
			out := r.sent[r.last].Msg
			if v, _ := out.Get("X-Origin"); v != "roaming" || out.From.URI.User != m.From.URI.User {
				t.Errorf("%v %v", out.From, out.Headers)
			}
			ev := s.grant(r, r.last, 3600)
			if _, has := out.Get("Contact"); !has {
				t.Error("a rule took the Contact")
			}
			if status != 200 {
				ev.Msg = message.Reply(out, status, "")
				ev.Msg.To.Tag = "pbx"
			}
			for _, a := range s.step(r, ev) {
				got, is := a.(tu.Respond)
				if !is {
					continue
				}
				want := map[int]int{200: 200, 404: 403}[status]
				if v, _ := got.Msg.Get("X-Gate"); v != "1" || got.Msg.Status != want {
					t.Errorf("%d: %d %v", status, got.Msg.Status, got.Msg.Headers)
				}
			}
		}
		break
	}
}
