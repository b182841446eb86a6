package trunk

import (
	"testing"
	"time"

	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// FuzzRegistrarAnswer: whatever a registrar writes into its answers, there is one REGISTER out, or one time for the next.
func FuzzRegistrarAnswer(f *testing.F) {
	f.Add(200, "<sip:4930555@192.168.1.2:5080>;expires=60", "600", "<sip:edge.example.net;lr>", "198.51.100.7", 40001)
	f.Add(423, "", "99999999999", "", "::1", -1)
	f.Add(503, "*", "120 (later);duration=3", "<sip:a>, <sip:b;lr>", "", 0)
	f.Add(401, `Digest realm="a", nonce="b"`, "-1", ",,,", "[2001:db8::1]", 65536)
	f.Fuzz(func(t *testing.T, status int, contact, number, route, received string, rport int) {
		r := NewRegistration(registrationConfig(), tu.Seed{1}, probeKey)
		now := zero
		r.Step(now, tu.Tick{}, nil)
		now = r.Deadline()
		do := r.Step(now, tu.Tick{}, nil)
		for range 3 {
			var sent *message.Message
			for _, a := range do {
				if s, is := a.(tu.Send); is {
					if sent != nil {
						t.Fatal("two at once")
					}
					sent = s.Msg
				}
			}
			if sent == nil {
				break
			}
			m := message.Reply(sent, 200+max(status, 0)%500, "")
			m.Via = []message.Via{{Transport: "UDP", Host: "192.168.1.2", Port: 5080, Received: received, RPort: rport}}
			for _, h := range []message.Header{
				{Name: "Contact", Value: contact}, {Name: "WWW-Authenticate", Value: contact}, {Name: "Expires", Value: number},
				{Name: "Min-Expires", Value: number}, {Name: "Retry-After", Value: number}, {Name: "Service-Route", Value: route},
			} {
				m.Add(h.Name, h.Value)
			}
			do = r.Step(now, tu.Answered{Ref: tu.Ref(sent.CSeq), Msg: m}, nil)
			if due := r.Deadline(); due.IsZero() || due.After(now.Add(8*24*time.Hour)) {
				t.Fatalf("the next one at %v", due)
			}
			for _, a := range do {
				if is, told := a.(tu.Registration); told && (len(is.Routes) > maxRoutes || len(is.Answer) > 120 || is.State == tu.Registered && !is.Until.After(now)) {
					t.Fatalf("%+v", is)
				}
			}
		}
	})
}
