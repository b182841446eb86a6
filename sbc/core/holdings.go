package core

import (
	"slices"
	"time"

	"go.uber.org/zap"

	"sallyport/media"
	"sallyport/nat"
	"sallyport/sbc/tu"
)

// openDialog makes a dialog's requests reach the user, and tells the guard who may send them.
func (c *Core) openDialog(u *user, a tu.OpenDialog) {
	key := dialogKey{side: a.Side, callID: a.CallID, local: a.Local}
	switch d := c.dialogs[key]; {
	case d == nil:
		c.dialogs[key] = &dialogState{user: u.id}
		u.dialogs = append(u.dialogs, key)
	case d.user != u.id:
		c.cfg.Log.DPanic("a user opened another's dialog", zap.Uint64("user", uint64(u.id)))
		return
	}
	c.cfg.Live.Add(a.Local, a.Source) // one that finds no room is judged like any other source
}

// closeDialog forgets a dialog of the user.
func (c *Core) closeDialog(u *user, key dialogKey) {
	i := slices.Index(u.dialogs, key)
	if i < 0 {
		return
	}
	u.dialogs = slices.Delete(u.dialogs, i, i+1)
	delete(c.dialogs, key)
	c.cfg.Live.Remove(key.local)
}

// reserve takes ports for streams, as many as there are; the user hears how many.
func (c *Core) reserve(now time.Time, u *user, a tu.Reserve) {
	var got []tu.Stream
	for range a.Streams {
		id, local, err := c.cfg.Media.Reserve(now)
		if err != nil {
			break
		}
		c.streams[id] = streamOwner{user: u.id, index: len(u.streams)}
		u.streams = append(u.streams, id)
		got = append(got, tu.Stream{Local: local})
	}
	c.tell(u.id, tu.Reserved{Streams: got, Print: c.print()})
}

// print is the fingerprint of our certificate, as the relay has it now.
func (c *Core) print() tu.Fingerprint {
	f, ok := c.cfg.Media.Fingerprint()
	if !ok {
		return tu.Fingerprint{}
	}
	return tu.Fingerprint{Hash: tu.Hash(f.Hash), Value: f.Value}
}

// point passes a leg's wanted state to the relay.
func (c *Core) point(u *user, a tu.Point) {
	if a.Stream < 0 || a.Stream >= len(u.streams) {
		return
	}
	if !c.join(u, a) {
		return
	}
	err := c.cfg.Media.Point(u.streams[a.Stream], a.Side, media.Want{
		RTP: a.Aim.RTP, RTCP: a.Aim.RTCP, Fallback: a.Aim.Fallback, Sources: a.Aim.Sources,
		Latch: latchMode(a.Aim.Latch), Payloads: a.Aim.Payloads, Clock: a.Aim.Clock, Mux: a.Aim.Mux, Opaque: a.Aim.Opaque,
		Send: a.Aim.Send, Receive: a.Aim.Receive, Final: a.Aim.Final, Epoch: a.Aim.Epoch,
		Timeout: a.Aim.Timeout, Hold: a.Aim.Hold,
		Numbers: media.Numbering(a.Aim.Numbers), Continuous: a.Aim.Continuous, Events: media.Events(a.Aim.Events),
		Tones: tones(&a.Aim.Tones), Police: media.Police(a.Aim.Police),
		Crypto: media.Crypto{Suite: media.Suite(a.Aim.Crypto.Suite), Receive: a.Aim.Crypto.Receive, Send: a.Aim.Crypto.Send},
		ICE:    media.Credentials(a.Aim.ICE), CNAMEs: media.CNAMEKey(a.Aim.CNAMEs),
		Peer: media.Identity{Role: media.Role(a.Aim.Peer.Role), Print: media.Fingerprint{
			Hash: media.Hash(a.Aim.Peer.Print.Hash), Value: a.Aim.Peer.Print.Value,
		}},
	})
	if err != nil {
		c.cfg.Log.Warn("the relay refused an address", zap.Uint64("user", uint64(u.id)), zap.Error(err))
		c.tell(u.id, tu.MediaRefused{Stream: a.Stream, Side: a.Side})
	}
}

// join looks at media that goes into a port of ours, which the PBX names when it lets a call cross the gate twice. Who
// holds that port hears it; a port that nobody holds, or that of the same stream, is no destination.
func (c *Core) join(u *user, a tu.Point) bool {
	id, ours := c.cfg.Media.Owner(a.Aim.RTP)
	if !ours {
		return true
	}
	o, held := c.streams[id]
	if !held || a.Side != nat.Inside || o.user == u.id {
		c.tell(u.id, tu.MediaRefused{Stream: a.Stream, Side: a.Side})
		return false
	}
	c.cfg.Assembly.Joined(u.id, o.user)
	return true
}

// Holds reports whether a user has a dialog: names that are a function of what a phone sent may come twice. It runs in
// the core's turn.
func (c *Core) Holds(side nat.Side, callID, local string) bool {
	return c.dialogs[dialogKey{side: side, callID: callID, local: local}] != nil
}

// Holder is the user that has a dialog, by our side of it. It runs in the core's turn.
func (c *Core) Holder(side nat.Side, callID, local string) (id tu.UserID, ok bool) {
	d := c.dialogs[dialogKey{side: side, callID: callID, local: local}]
	if d == nil {
		return 0, false
	}
	return d.user, true
}

func tones(t *tu.Tones) media.Tones {
	out := media.Tones{Serial: t.Serial, Count: t.Count}
	for i := range t.List {
		out.List[i] = media.Tone(t.List[i])
	}
	return out
}

func latchMode(l tu.Latch) media.Mode {
	switch l {
	case tu.LatchStrict:
		return media.Strict
	case tu.LatchDelayed:
		return media.Delayed
	case tu.LatchPorted:
		return media.Ported
	default:
		return media.Off
	}
}

// releaseLast gives the ports of the user's last stream back.
func (c *Core) releaseLast(now time.Time, u *user) {
	last := len(u.streams) - 1
	id := u.streams[last]
	u.streams = u.streams[:last]
	delete(c.streams, id)
	c.cfg.Media.Release(now, id)
}

// record adds the relay's figures to a CDR and passes it on, once a user: an Abort need not know whether the Step that
// failed came after the record.
func (c *Core) record(u *user, a tu.Record) {
	if u.recorded {
		return
	}
	carries := a.CDR.Media
	a.CDR.Media = nil
	for i, id := range u.streams {
		if legs, ok := c.cfg.Media.Stats(id); ok {
			var of tu.StreamStats
			if i < len(carries) {
				of = carries[i]
			}
			a.CDR.Media = append(a.CDR.Media, Figures(&legs, of))
		}
	}
	c.cfg.Assembly.UnleaseAll(u.id)
	c.cfg.Assembly.Record(a.CDR)
	u.recorded = true
}

// Streams are the media ids of a user, for the listing of calls. It runs in the core's turn.
func (c *Core) Streams(id tu.UserID) []media.ID {
	if u := c.users[id]; u != nil {
		return slices.Clone(u.streams)
	}
	return nil
}
