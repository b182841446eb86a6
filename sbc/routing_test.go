package sbc_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat/natlab"
	"sallyport/sbc"
	"sallyport/sbc/api"
	"sallyport/sbc/demo"
	"sallyport/sbc/message"
)

var carrierAt = netip.MustParseAddrPort("203.0.113.30:5060")

const routedConfig = `
outside: { address: 203.0.113.10, phones: { udp: 5060 }, trunks: { udp: 5080 } }
inside: { address: 10.0.0.2, phones: { udp: 5060 }, trunks: { udp: 5080 } }
media: { ports: 30000-31000 }
pbx:
  domain: example.com
  nodes:
    - { address: "10.0.0.10:5060", group: east }
    - { address: "10.0.0.11:5060", group: west }
  health: { interval: 0 }
trunks:
  - name: itsp
    peers: [ { address: "203.0.113.20:5060" } ]
    group: both
    weight: 3
    outbound: { match: [ '\+49.*' ] }
    numbers: { format: plus, user_phone: true }
    failover: [ 404, 5xx ]
    keepalive: { method: none }
  - name: carrier
    peers: [ { address: "203.0.113.30:5060" } ]
    group: both
    outbound: { match: [ '\+.*' ] }
    numbers: { format: national }
    keepalive: { method: none }
routes:
  country: DE
  inbound:
    - { trunk: itsp, did: '\+4930555.*', to: west, numbers: [ { of: called, match: '\+4930555([0-9]+)', replace: '$1' } ] }
    - { from: '0172.*', to: [ east, west ] }
emergency: { numbers: [ "112" ], trunks: [ carrier ] }
policy: { rate_limits: [] }
`

// called is who was called last, by what name.
type called struct {
	agent string
	uri   message.URI
	to    message.URI
	from  message.URI
}

// routed is the lab with two providers, that remembers who was asked.
func routed(t *testing.T, yaml string) (l *lab, carrier *demo.Agent, seen *[]called) {
	l = newLab(t, yaml, natlab.Options{Seed: 1})
	carrier = l.agent("carrier", carrierAt, 13)
	seen = new([]called)
	for _, a := range []*demo.Agent{l.provider, carrier, l.pbx, l.other} {
		a.Incoming = func(m *message.Message) demo.Script {
			*seen = append(*seen, called{a.Name, m.URI, m.To.URI, m.From.URI})
			return demo.Script{Answer: 10 * time.Millisecond, SDP: sdpAt(a.Addr.Addr(), 4002)}
		}
	}
	return l, carrier, seen
}

func (l *lab) dials(from *demo.Agent, number string) demo.Result {
	to := pbxSocket
	if from == l.provider || from.Addr == carrierAt {
		to = trunkSocket
	}
	return l.call(from, to, number, demo.Script{SDP: sdpAt(from.Addr.Addr(), 4000), Hangup: time.Second})
}

func TestCallsInGoToTheirGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, carrier, seen := routed(t, routedConfig)
		defer l.close()
		for i, tt := range []struct {
			from   *demo.Agent
			number string
			want   string // agents that may be asked
			user   string
		}{
			{l.provider, "+4930555204", "other", "204"},
			{l.provider, "030555204", "other", "030555204"}, // it is that number; the rule on numbers sees what was dialled
			{l.provider, "+4940555204", "pbx other", "+4940555204"},
			{carrier, "+4930555204", "pbx other", "+4930555204"}, // the rule is for calls of itsp
		} {
			*seen = nil
			if r := l.dials(tt.from, tt.number); r.Code != 200 {
				t.Errorf("%s: %d %s", tt.number, r.Code, r.Why)
			}
			if len(*seen) != 1 || !strings.Contains(tt.want, (*seen)[0].agent) || (*seen)[0].uri.User != tt.user || (*seen)[0].to.User != tt.user {
				t.Errorf("%d, %s: asked %+v", i, tt.number, *seen)
			}
		}
		// The group that is named is gone: nobody else gets its calls.
		l.net.Host(otherPBXAt.Addr()).Down(true)
		if r := l.dials(l.provider, "+4930555204"); r.Code != 503 {
			t.Errorf("%d %s", r.Code, r.Why)
		}
		l.empty()
	})
}

// TestADegradedGroupKeepsItsCalls: another group, which may not know the number, is asked where nobody of the first one lives; that a
// node has said 503 twice, and is degraded, sends nobody there.
func TestADegradedGroupKeepsItsCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, routedConfig, natlab.Options{Seed: 1})
		defer l.close()
		var asked []string
		busy := true
		for _, a := range []*demo.Agent{l.pbx, l.other} {
			a.Do(func() {
				a.Incoming = func(*message.Message) demo.Script {
					asked = append(asked, a.Name)
					if busy && a == l.pbx {
						return demo.Script{Refuse: 503}
					}
					return demo.Script{Answer: 10 * time.Millisecond, SDP: sdpAt(a.Addr.Addr(), 4002)}
				}
			})
		}
		l.provider.Do(func() { l.provider.Number = "0172123" })
		call := func() string {
			asked = nil
			l.call(l.provider, trunkSocket, "+4940555", demo.Script{SDP: sdpAt(providerAt.Addr(), 4000), Hangup: time.Second})
			synctest.Wait()
			return strings.Join(asked, ", ")
		}
		both := l.pbx.Name + ", " + l.other.Name
		for range 2 {
			if got := call(); got != both {
				t.Errorf("asked %s, want %s", got, both)
			}
		}
		busy = false
		if got := call(); got != l.pbx.Name {
			t.Errorf("asked %s, with the first group %s", got, l.states())
		}
		l.net.Host(pbxAt.Addr()).Down(true)
		for range 3 {
			call()
		}
		if got := call(); got != l.other.Name || l.states() != "down unknown" {
			t.Errorf("asked %s, with the groups %s", got, l.states())
		}
		l.net.Host(pbxAt.Addr()).Down(false)
	})
}

func TestCallsOutInTheFormOfTheTrunk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _, seen := routed(t, routedConfig)
		defer l.close()
		first := map[string]int{}
		for range 8 {
			*seen = nil
			if r := l.dials(l.pbx, "0301234567"); r.Code != 200 || len(*seen) != 1 {
				t.Fatalf("%d %s: %+v", r.Code, r.Why, *seen)
			}
			got := (*seen)[0]
			first[got.agent]++
			want := map[string]string{"provider": "sip:+49301234567@203.0.113.20;user=phone", "carrier": "sip:0301234567@203.0.113.30"}[got.agent]
			if got.uri.String() != want || got.to.String() != want {
				t.Errorf("%s was asked for %s, To %s", got.agent, got.uri, got.to)
			}
		}
		if first["provider"] != 6 || first["carrier"] != 2 {
			t.Errorf("3 to 1: %v", first)
		}
		for number, want := range map[string]int{"204": 404, "alice": 404, "00441632960123": 200} {
			*seen = nil
			if r := l.dials(l.pbx, number); r.Code != want || want == 404 && len(*seen) != 0 {
				t.Errorf("%s: %d %s, asked %+v", number, r.Code, r.Why, *seen)
			}
		}
		if got := (*seen); len(got) == 1 && got[0].uri.User != "00441632960123" {
			t.Errorf("%+v", got)
		}
		l.empty()
	})
}

func TestFailoverCodes(t *testing.T) {
	for _, tt := range []struct{ refuse, code, asked int }{
		{404, 200, 2}, {500, 200, 2}, {503, 200, 2}, {599, 200, 2}, {486, 486, 1}, {403, 403, 1}, {600, 600, 1}, {603, 603, 1},
	} {
		t.Run(fmt.Sprint(tt.refuse), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, _, seen := routed(t, routedConfig)
				defer l.close()
				l.provider.Incoming = func(m *message.Message) demo.Script {
					*seen = append(*seen, called{"provider", m.URI, m.To.URI, m.From.URI})
					return demo.Script{Answer: time.Millisecond, Refuse: tt.refuse}
				}
				if r := l.dials(l.pbx, "+49301234567"); r.Code != tt.code || len(*seen) != tt.asked {
					t.Errorf("%d %s, asked %+v", r.Code, r.Why, *seen)
				}
				// The last one's answer is the answer, whatever it is.
				l.net.Host(carrierAt.Addr()).Down(true)
				if r := l.dials(l.pbx, "+49301234567"); tt.refuse == 404 && r.Code != 404 && r.Code != 503 {
					t.Errorf("%d %s", r.Code, r.Why)
				}
				l.empty()
			})
		})
	}
}

func TestEmergencyGoesByItsTrunks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _, seen := routed(t, routedConfig)
		defer l.close()
		c := l.gate.Control(nil)
		for range 2 {
			*seen = nil
			if r := l.dials(l.pbx, "112"); r.Code != 200 || len(*seen) != 1 || (*seen)[0].uri.String() != "sip:112@203.0.113.30" {
				t.Errorf("%d %s: %+v", r.Code, r.Why, *seen)
			}
			if _, err := c.DrainTrunk(t.Context(), "carrier", true, "test"); err != nil {
				t.Fatal(err)
			}
		}
		if r := l.dials(l.pbx, "00441632960123"); r.Code != 503 {
			t.Errorf("a call that is none, by a drained trunk: %d %s", r.Code, r.Why)
		}
		l.empty()
	})
}

// sharedConfig has three trunks of one provider.
const sharedConfig = `
outside: { address: 203.0.113.10, phones: { udp: 5060 }, trunks: { udp: 5080 } }
inside: { address: 10.0.0.2, phones: { udp: 5060 }, trunks: { udp: 5080 } }
media: { ports: 30000-31000 }
pbx: { domain: example.com, nodes: [ { address: "10.0.0.10:5060" } ], health: { interval: 0 } }
trunks:
  - { name: plain, peers: [ { address: "203.0.113.20:5060" }, { address: "203.0.113.30:5060" } ], keepalive: { method: none }, outbound: { match: [ '1.*' ] } }
  - name: berlin
    peers: [ { address: "203.0.113.20:5060" }, { address: "203.0.113.30:5060" } ]
    inbound: { match: '\+4930.*' }
    outbound: { match: [ '2.*' ] }
    keepalive: { method: none }
    headers: { inbound: [ { header: X-Trunk, action: set, value: berlin } ] }
  - name: hamburg
    peers: [ { address: "203.0.113.20:5060" } ]
    inbound: { match: [ '\+4940.*', '040.*' ] }
    outbound: { match: [ '2.*' ] }
    keepalive: { method: none }
routes: { country: DE }
policy: { rate_limits: [] }
`

func TestTrunksOfOneProvider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, carrier, _ := routed(t, sharedConfig)
		defer l.close()
		var marks []string
		l.pbx.Incoming = func(m *message.Message) demo.Script {
			mark, _ := m.Get("X-Trunk")
			marks = append(marks, mark)
			return demo.Script{Answer: 10 * time.Millisecond, SDP: sdpAt(pbxAt.Addr(), 4002)}
		}
		for _, tt := range []struct {
			from          *demo.Agent
			number, trunk string
		}{
			{l.provider, "+4930123456", "berlin"}, {l.provider, "030123456", "berlin"}, {l.provider, "040123456", "hamburg"},
			{l.provider, "+4989123456", "plain"}, {carrier, "+4930123456", "berlin"}, {carrier, "+4940123456", "plain"},
		} {
			l.cdrs.forget()
			r := l.dials(tt.from, tt.number)
			time.Sleep(time.Second)
			cdrs := l.cdrs.all()
			if r.Code != 200 || len(cdrs) != 1 || cdrs[0].Trunk != tt.trunk {
				t.Errorf("%s: %d %s, %+v, want %s", tt.number, r.Code, r.Why, cdrs, tt.trunk)
			}
		}
		if fmt.Sprint(marks) != "[berlin berlin   berlin ]" {
			t.Errorf("%q", marks)
		}
		// By which trunk a call leaves is its own affair, and the BYE of either end is that call's.
		for _, number := range []string{"1234", "2345"} {
			l.cdrs.forget()
			l.provider.Incoming = func(*message.Message) demo.Script {
				return demo.Script{Answer: time.Millisecond, SDP: sdpAt(providerAt.Addr(), 4002), Hangup: 2 * time.Second}
			}
			r := l.call(l.pbx, pbxSocket, number, demo.Script{SDP: sdpAt(pbxAt.Addr(), 4000)})
			time.Sleep(time.Second)
			if cdrs := l.cdrs.all(); r.Code != 200 || len(cdrs) != 1 || cdrs[0].EndedBy != "callee" ||
				cdrs[0].Trunk != map[string]string{"1234": "plain", "2345": "berlin"}[number] {
				t.Errorf("%s: %d %s, %+v", number, r.Code, r.Why, l.cdrs.all())
			}
		}
		l.empty()
	})
}

// TestRouteTestTellsWhatHappens: what `sbc route test` says is what a call does, and asking takes nobody's turn.
func TestRouteTestTellsWhatHappens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _, seen := routed(t, routedConfig)
		defer l.close()
		c := l.gate.Control(nil)
		for range 6 {
			for _, q := range []api.RouteQuestion{
				{Number: "030 123-4567", From: "204"}, {Number: "+44 1632 960123"}, {Number: "112"}, {Number: "alice"},
				{Number: "+49-30-555204", Trunk: "itsp"}, {Number: "555", Trunk: "carrier", From: "01721234567"},
			} {
				answer, err := c.TestRoute(t.Context(), q)
				if err != nil {
					t.Fatal(q, err)
				}
				again, err := c.TestRoute(t.Context(), q)
				if err != nil || again.Text() != answer.Text() {
					t.Errorf("%+v: %s\nthen %s", q, answer.Text(), again.Text())
				}
				*seen = nil
				from := l.pbx
				if q.Trunk == "itsp" {
					from = l.provider
				}
				number := strings.NewReplacer(" ", "", "tel:", "").Replace(q.Number)
				if q.Trunk == "carrier" {
					continue // its caller would have to be another
				}
				r := l.dials(from, number)
				if len(answer.Hops) == 0 {
					if !strings.HasPrefix(answer.Refused, fmt.Sprint(r.Code)) || len(*seen) != 0 {
						t.Errorf("%+v: %s, and the call %d %s", q, answer.Text(), r.Code, r.Why)
					}
					continue
				}
				if len(*seen) != 1 || (*seen)[0].uri.String() != answer.Hops[0].URI {
					t.Errorf("%+v: %s\nasked %+v", q, answer.Text(), *seen)
				}
			}
		}
		for _, q := range []api.RouteQuestion{{Number: "sip:@"}, {Number: "a@b"}, {Number: ""}, {Number: "1", Trunk: "gone"}, {Number: "1", From: "<>"}} {
			if a, err := c.TestRoute(t.Context(), q); err == nil {
				t.Errorf("%+v: %s", q, a.Text())
			}
		}
		l.empty()
	})
}

// TestRouteTestOffline: the same of a file, without health.
func TestRouteTestOffline(t *testing.T) {
	answer, err := sbc.TestRoute(parse(t, routedConfig), api.RouteQuestion{Number: "0301234567", From: "204"})
	if err != nil || !answer.Offline || len(answer.Hops) != 2 || len(answer.Rules) != 2 {
		t.Fatalf("%+v %v", answer, err)
	}
	text := answer.Text()
	for _, want := range []string{
		"number    0301234567, in the public network +49301234567\n", "plan      1  itsp (both)  203.0.113.20:5060/udp\n",
		"   INVITE sip:+49301234567@203.0.113.20;user=phone\n", "   next   after no answer within 1.5s, 503, 404, 5xx\n",
		"trunks[0] itsp: outbound.match[0] '\\+49.*' fits +49301234567; group both, priority 1, weight 3\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
}
