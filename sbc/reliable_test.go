package sbc_test

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat/natlab"
	"sallyport/sbc/dialog"
	"sallyport/sbc/message"
)

// early is a call that rings: both ends of its early dialog.
func (l *lab) early(from, to *wire, gate netip.AddrPort, invite, arrived, ringing *message.Message) (caller, callee *party) {
	l.t.Helper()
	caller, callee = l.ends(from, to, gate, invite, arrived, ringing)
	caller.dlg.State, callee.dlg.State = dialog.Early, dialog.Early
	return caller, callee
}

// rack is the RAck for a reliable response.
func rack(t *testing.T, m *message.Message, cseq uint32) message.Header {
	t.Helper()
	v, ok := m.Get("RSeq")
	if r, _ := m.Get("Require"); !ok || r != "100rel" {
		t.Fatalf("no reliable response:\n%s", m)
	}
	return message.Header{Name: "RAck", Value: fmt.Sprintf("%s %d INVITE", v, cseq)}
}

func reliably(rseq int) []message.Header {
	return []message.Header{field("Require: 100rel"), field(fmt.Sprintf("RSeq: %d", rseq))}
}

// TestReliableOnTheCalleesLegAlone: the caller hears nothing of 100rel, and the callee has its PRACK at once.
func TestReliableOnTheCalleesLegAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		invite := withBody(itsp.request("INVITE", trunkSocket, "100"), sdpAt(providerAt.Addr(), 4000))
		itsp.send(trunkSocket, invite)
		arrived := pbx.want("INVITE")
		if v, _ := arrived.Get("Supported"); v != "100rel" {
			t.Errorf("Supported %q", v)
		}
		pbx.reply(arrived, 183, sdpAt(pbxAt.Addr(), 4002), reliably(5)...)
		prack := pbx.want("PRACK")
		if v, _ := prack.Get("RAck"); v != "5 1 INVITE" {
			t.Errorf("RAck %q", v)
		}
		pbx.reply(arrived, 183, sdpAt(pbxAt.Addr(), 4002), reliably(5)...)
		pbx.reply(prack, 200, nil)
		pbx.quiet(time.Second)
		progress := itsp.want("183 INVITE")
		for _, name := range []string{"Require", "RSeq"} {
			if v, said := progress.Get(name); said {
				t.Errorf("%s: %s to a caller that knows nothing of it", name, v)
			}
		}
		pbx.reply(arrived, 200, nil)
		final := itsp.want("200 INVITE")
		if len(final.Body) == 0 {
			t.Error("the caller gets no answer")
		}
		caller, callee := l.ends(itsp, pbx, trunkSocket, invite, arrived, final)
		itsp.send(trunkSocket, caller.within("ACK", 1))
		pbx.want("ACK")
		hangup(caller, callee)
		l.empty()
	})
}

// TestReliableOnTheCallersLegAlone: what the callee sends without 100rel is repeated to the caller until its PRACK, and the 2xx
// waits for it.
func TestReliableOnTheCallersLegAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		invite := withBody(itsp.request("INVITE", trunkSocket, "100", field("Require: 100rel")), sdpAt(providerAt.Addr(), 4000))
		itsp.send(trunkSocket, invite)
		arrived := pbx.want("INVITE")
		if v, said := arrived.Get("Require"); said {
			t.Errorf("the callee is required %s", v)
		}
		pbx.reply(arrived, 183, sdpAt(pbxAt.Addr(), 4002))
		progress := itsp.want("183 INVITE")
		clear(itsp.seen) // copies count
		for _, wait := range []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second} {
			if m := itsp.next(wait + time.Millisecond); m == nil || kind(m) != "183 INVITE" {
				t.Errorf("no copy after %v: %v", wait, m)
			}
			clear(itsp.seen)
		}
		pbx.reply(arrived, 200, sdpAt(pbxAt.Addr(), 4002))
		itsp.quiet(time.Second, "200 INVITE")
		caller, callee := l.early(itsp, pbx, trunkSocket, invite, arrived, progress)
		caller.ask("PRACK", rack(t, progress, invite.CSeq))
		itsp.want("200 PRACK")
		itsp.want("200 INVITE")
		itsp.send(trunkSocket, caller.within("ACK", 1))
		pbx.want("ACK")
		hangup(caller, callee)
		l.empty()
	})
}

// TestReliableWithoutPrack: nobody acknowledges for 64·T1.
func TestReliableWithoutPrack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		invite := withBody(itsp.request("INVITE", trunkSocket, "100", field("Require: 100rel")), sdpAt(providerAt.Addr(), 4000))
		itsp.send(trunkSocket, invite)
		arrived := pbx.want("INVITE")
		pbx.reply(arrived, 180, nil)
		final := itsp.want("504 INVITE")
		ack := itsp.request("ACK", trunkSocket, "100")
		ack.Via, ack.From, ack.To, ack.CallID = invite.Via, invite.From, final.To, invite.CallID
		itsp.send(trunkSocket, ack)
		pbx.reply(pbx.want("CANCEL"), 200, nil)
		pbx.reply(arrived, 487, nil)
		pbx.want("ACK")
		l.empty()
	})
}

// TestReliableEndToEnd: PRACK, its answer and UPDATEs of both sides pass before the call is answered.
func TestReliableEndToEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		invite := withBody(itsp.request("INVITE", trunkSocket, "100", field("Supported: 100rel")), sdpAt(providerAt.Addr(), 4000))
		itsp.send(trunkSocket, invite)
		arrived := pbx.want("INVITE")
		pbx.reply(arrived, 183, sdpAt(pbxAt.Addr(), 4002), reliably(77)...)
		progress := itsp.want("183 INVITE")
		pbx.quiet(time.Second, "PRACK")
		caller, callee := l.early(itsp, pbx, trunkSocket, invite, arrived, progress)
		caller.ask("PRACK", rack(t, progress, invite.CSeq))
		prack := pbx.want("PRACK")
		if v, _ := prack.Get("RAck"); v != "77 1 INVITE" {
			t.Errorf("RAck %q", v)
		}
		pbx.reply(prack, 200, nil)
		itsp.want("200 PRACK")
		for _, x := range []struct {
			by, other *party
			port      int
		}{{caller, callee, 4010}, {callee, caller, 4012}} {
			x.by.send(x.by.gate, withBody(x.by.within("UPDATE", 0, message.Header{Name: "Contact", Value: x.by.contact()}), sdpAt(x.by.at.Addr(), x.port)))
			x.other.reply(x.other.want("UPDATE"), 200, sdpAt(x.other.at.Addr(), 4000))
			x.by.want("200 UPDATE")
		}
		pbx.reply(arrived, 200, nil)
		itsp.want("200 INVITE")
		itsp.send(trunkSocket, caller.within("ACK", 1))
		pbx.want("ACK")
		hangup(callee, caller)
		l.empty()
	})
}
