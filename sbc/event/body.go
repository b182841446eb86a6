package event

import (
	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// copyBody passes the body of a leg's message as the other leg may see it; without a type nobody could read it (RFC 3261
// §20.15). It reports false for one that is not what its type says: it is left out, and what came with it says enough. The
// lamps stay as they are, and the next whole document puts them right ("full", RFC 4235 §3.7.1).
func (s *Subscription) copyBody(from int, out, in *message.Message) bool {
	kind, _ := in.Get("Content-Type")
	if kind == "" || len(in.Body) == 0 {
		return true
	}
	_, hosts := s.hosts(from)
	t := header.TellingOf(s.set.Ties, s.legs[from].hop.Peer, s.legs[1-from].hop.Peer, hosts)
	body, whole := t.Body(kind, in.Body)
	if !whole {
		for _, name := range [...]string{"Content-Disposition", "Content-Encoding", "Content-Language", "MIME-Version"} {
			out.Remove(name) // they say something of a body
		}
		return false
	}
	out.Body = body
	out.Set("Content-Type", kind)
	return true
}

// maxUnread bounds the evidence that one subscription leaves.
const maxUnread = 4

// bodyStays says that a body was left out.
func (s *Subscription) bodyStays(from int, ev tu.Arrived, do []tu.Action) []tu.Action {
	if s.unread++; s.unread > maxUnread {
		return do
	}
	kind, _ := ev.Msg.Get("Content-Type")
	return append(do, tu.Note{
		Source: ev.Flow.Remote, Side: s.legs[from].side(), Realm: s.legs[from].hop.Peer.Realm, Method: ev.Msg.Method, Why: reason.Malformed,
		Text: "the body is no " + header.Word(kind) + "; the request was passed without it",
	})
}
