package sbc_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat/natlab"
	"sallyport/sbc/dialog"
	"sallyport/sbc/message"
)

// TestStrictNodesStandIn: a node that knows nothing of loose routing is stood in for as others are: the Request-URI names the other one
// (RFC 3261 §12.2.1.1). Where none lives the request is what the last strict one would make of it.
func TestStrictNodesStandIn(t *testing.T) {
	for _, all := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			l := newGate(t, clusterConfig, natlab.Options{Seed: 4})
			defer l.close()
			one, two, far := l.mate(pbxAt), l.mate(otherPBXAt), l.mate(farEndAt)
			time.Sleep(5 * time.Second)
			caller, by, other := l.routed(one, two, "<sip:10.0.0.40:5066;lr>", "<sip:NODE>")
			by.dies("silent")
			if all {
				other.dies("silent")
				far = l.mate(netip.MustParseAddrPort("10.0.0.40:5066"))
			}
			time.Sleep(15 * time.Second)
			caller.send(trunkSocket, caller.within("BYE", 0))
			at, uri, routes := other, "sip:"+other.at.String(), "<sip:10.0.0.40:5066;lr> <sip:far@10.0.0.50:5070>"
			if all {
				at, uri, routes = far, "sip:far@10.0.0.50:5070", "<sip:10.0.0.40:5066;lr>"
			}
			bye := at.must("BYE", time.Second)
			var got []string
			for _, h := range bye.Headers {
				if h.Name == "Route" {
					got = append(got, h.Value)
				}
			}
			if bye.URI.String() != uri || strings.Join(got, " ") != routes {
				t.Errorf("it sent\n%s", bye)
			}
			at.reply(bye, 200, nil)
			caller.want("200 BYE")
			l.cleared()
		})
	}
}

// routed is a call that its node has put routes into; NODE is its address. Without any the node is the far end.
func (l *lab) routed(one, two *mate, routes ...string) (caller *party, by, other *mate) {
	l.t.Helper()
	itsp := l.wire(providerAt)
	invite := withBody(itsp.request("INVITE", trunkSocket, "+4930123"), sdpAt(providerAt.Addr(), 4000))
	itsp.send(trunkSocket, invite)
	arrived, by, other := reached(l.t, "INVITE", one, two)
	ok := message.Reply(arrived, 200, "")
	ok.To.Tag = "far"
	for _, r := range routes {
		ok.Add("Record-Route", strings.Replace(r, "NODE", by.at.String(), 1))
	}
	if ok.Add("Contact", "<sip:far@"+farEndAt.String()+">"); len(routes) == 0 {
		ok.Set("Contact", by.contact())
	}
	by.send(pbxSocket, withBody(ok, sdpAt(farEndAt.Addr(), 4002)))
	caller = &party{wire: itsp, gate: trunkSocket}
	var err error
	if caller.dlg, err = dialog.UAC(invite, itsp.want("200 INVITE")); err != nil {
		l.t.Fatal(err)
	}
	itsp.send(trunkSocket, caller.within("ACK", invite.CSeq))
	by.must("ACK", time.Second)
	return caller, by, other
}

// TestWhyNobodyPassesItOn: `sbc why` of a dead node says that what belongs to its calls has no other way.
func TestWhyNobodyPassesItOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, clusterConfig, natlab.Options{Seed: 4})
		defer l.close()
		one, two := l.mate(pbxAt), l.mate(otherPBXAt)
		time.Sleep(5 * time.Second)
		caller, by, _ := l.routed(one, two)
		by.dies("silent")
		time.Sleep(15 * time.Second)
		caller.send(trunkSocket, caller.within("INFO", 0))
		time.Sleep(time.Second)
		if text := l.why(by.at.String()); !strings.Contains(text, "nobody passes on what belongs to its calls: the dialog ends there") {
			t.Errorf("why %s:\n%s", by.at, text)
		}
		caller.send(trunkSocket, caller.within("BYE", 0))
		caller.want("200 BYE")
		l.cleared()
	})
}

// TestALoneRequestToASilentNode: nobody knows yet that the node is down, and one request is not enough to say so. What belongs to a dialog
// goes by another node once an OPTIONS, too, has had no word; where it has, the far end is slow, and nobody else is asked.
func TestALoneRequestToASilentNode(t *testing.T) {
	for _, tt := range []struct {
		method string
		silent bool
		within time.Duration
	}{{"INFO", true, 8 * time.Second}, {"INVITE", true, 6 * time.Second}, {"INFO", false, 0}} {
		t.Run(fmt.Sprint(tt.method, " silent ", tt.silent), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				yaml := rewritten(t, rewritten(t, clusterConfig, "interval: 2s, failures: 2", "interval: 60s, failures: 5"), "31000 }", "31000, timeout: 10m }")
				l := newGate(t, yaml, natlab.Options{Seed: 4})
				defer l.close()
				one, two := l.mate(pbxAt), l.mate(otherPBXAt)
				time.Sleep(100 * time.Second)
				caller, by, other := l.routed(one, two, "<sip:NODE;lr>")
				if tt.silent {
					by.dies("silent")
				}
				m := caller.within(tt.method, 0)
				caller.send(trunkSocket, m)
				in := other.hears(tt.method, 20*time.Second)
				switch {
				case !tt.silent && in != nil:
					t.Errorf("another node was asked, though the first one lives:\n%s", in)
				case !tt.silent:
				case in == nil:
					t.Error("nobody else was asked")
				default:
					other.reply(in, 488, nil)
				}
				if s := l.states(); strings.Contains(s, "down") {
					t.Errorf("nodes are %s", s)
				}
				time.Sleep(time.Minute)
				l.net.Impair(gateInside, by.at.Addr(), natlab.Link{})
				caller.send(trunkSocket, caller.within("BYE", 0))
				caller.want("200 BYE")
				l.cleared()
			})
		})
	}
}
