package sbc

import (
	"bytes"

	"sallyport/nat"
	"sallyport/sbc/call"
	"sallyport/sbc/core"
	"sallyport/sbc/message"
	"sallyport/sbc/scan"
	"sallyport/sbc/tu"
)

// loopInterface is the number of an interface without a socket: what is sent there arrives in the core as if it had come in
// by it. By it one call becomes part of another one, as in a consultation whose two calls both cross the gate: each keeps its
// ports, its record and its other end, and all that passes between them are messages that any two systems could exchange.
//
// Nothing of the network can come by it: transports number interfaces as the configuration lists them.
const loopInterface = 1<<16 - 1

// addLoop makes the peer that stands at both ends of the loop. It is trusted as the PBX is, for whoever sends there is a call
// of ours.
func (w *world) addLoop() {
	var face *nat.Interface
	for i := range w.snap.Interfaces {
		if f := &w.snap.Interfaces[i]; f.Side == nat.Inside && (face == nil || face.Realm != nat.Trunks && f.Realm == nat.Trunks) {
			face = f
		}
	}
	if face == nil {
		return
	}
	at := w.local(face, face.Bind.Addr(), face.Bind.Addr())
	at.Interface, at.Transport = loopInterface, nat.UDP
	w.loop = tu.Hop{
		ID: "loop", Here: at, Flow: nat.Flow{Interface: loopInterface, Remote: face.Bind},
		Peer: &tu.Peer{
			Kind: tu.KindNode, Name: "loop", Side: nat.Inside, Realm: nat.Trunks, Host: w.snap.PBX.Domain, TimerC: timerC,
			Media: tu.MediaPolicy{Latch: tu.LatchOff, Timeout: w.snap.Media.Timeout, Hold: w.snap.Media.Hold},
		},
	}
	w.calls.Loop = &w.loop
}

// loopback delivers what was sent to the loop. It is in the core's turn: the core finds it in its inbox.
func (s *SBC) loopback(f nat.Flow, b []byte) error {
	b = bytes.Clone(b) // the message refers to it
	var v scan.View
	if err := scan.Scan(b, &v); err != nil {
		return err
	}
	m, err := message.Parse(b, &v)
	if err != nil {
		return err
	}
	m.SetSource(f.Remote)
	s.core.Deliver(core.Inbound{Msg: m, Flow: f}) // a full inbox loses it, as it does datagrams
	return nil
}

// Taker names the call that takes an INVITE in the place of a new one: it replaces a dialog that the call has inside (RFC 3891).
// What comes from outside is the PBX's to judge, and passes.
func (a *assembly) Taker(ev *tu.Arrived) (id tu.UserID, ok bool) {
	if ev.Peer == nil || ev.Peer.Kind != tu.KindNode || ev.Msg.Method != "INVITE" {
		return 0, false
	}
	d, ok := call.Replacing(ev.Msg)
	if !ok {
		return 0, false
	}
	if id, ok = a.sbc.core.Holder(nat.Inside, d.CallID, d.Local); !ok {
		return 0, false
	}
	c := a.calls[id]
	return id, c != nil && c.Takes(d, ev.Flow.Interface == loopInterface)
}
