package exchange

import (
	"testing"

	"sallyport/sbc/tu"
)

// TestFailoverCodes: after some answers of a peer the next hop is asked, and the last one's answer is the answer.
func TestFailoverCodes(t *testing.T) {
	for _, tt := range []struct{ code, asked int }{{404, 2}, {500, 2}, {503, 2}, {403, 1}, {486, 1}, {603, 1}} {
		s := newStage(t, "phone1")
		first, second := stageHop("node1"), stageHop("node2")
		peer := *first.Peer
		peer.Failover = tu.Codes{{First: 404, Last: 404}, {First: 500, Last: 599}}
		first.Peer = &peer
		s.step(s.arrive(s.request("MESSAGE")))
		s.step(tu.Routed{Hops: []tu.Hop{first, second}})
		said := 0
		for ref := range tt.asked {
			for _, a := range s.step(s.response(tu.Ref(ref+1), tt.code)) {
				if r, is := a.(tu.Respond); is && r.Msg.Status >= 200 {
					said = r.Msg.Status
				}
			}
		}
		if len(s.clients) != tt.asked || said != tt.code {
			t.Errorf("after %d: asked %d times, answered %d", tt.code, len(s.clients), said)
		}
	}
}
