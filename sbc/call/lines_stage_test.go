package call

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"sallyport/media/sdp"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// bids are the offers that peers have made in responses, by the request that has to answer them.
type bids map[string][]byte

// bidKey names the answer to an offer in a response: the ACK of a 2xx, the PRACK of a reliable response.
func bidKey(m *message.Message, cseq uint32, rseq string) string {
	of := *m
	of.CSeq = cseq
	return ackKey(&of) + " " + rseq
}

// answers checks what left upon an event: "the answer MUST contain exactly the same number of m= lines as the offer" (RFC 3264 §6), each
// of the same kind, whatever the other leg has said.
func (s *stage) answers(ev tu.Event, do []tu.Action) {
	s.t.Helper()
	if a, ok := ev.(tu.Answered); ok && a.Msg.Method == "INVITE" && (described(a.Msg) || a.Msg.Status/100 == 2) {
		if x := s.clients[a.Ref]; x != nil && !described(x.msg) {
			if s.bids == nil {
				s.bids = bids{}
			}
			rseq := ""
			if a.Msg.Status < 200 {
				rseq = strconv.FormatUint(uint64(rseqOf(a.Msg)), 10) // 0: of one that nobody acknowledges
			}
			key := bidKey(a.Msg, x.msg.CSeq, rseq)
			if _, copied := s.bids[key]; !copied { // what a copy says does not count
				s.bids[key] = sdpOf(a.Msg)
			}
		}
	}
	for _, m := range messagesOf(do) {
		s.versioned(m)
	}
	for _, a := range do {
		switch a := a.(type) {
		case tu.Respond:
			if x := s.servers[a.Tx]; x != nil && negotiates(x.msg.Method) && a.Msg.Status < 300 && described(x.msg) && !s.moved(x) {
				s.lined(a.Msg, sdpOf(x.msg))
			}
		case tu.SendAck:
			s.lined(a.Msg, s.bids[bidKey(a.Msg, a.Msg.CSeq, "")])
		case tu.Send:
			s.grown(a)
			if rack, ok := a.Msg.Get("RAck"); ok {
				f := strings.Fields(rack)
				s.lined(a.Msg, s.bids[bidKey(a.Msg, s.clients[inviteOf(s)].msg.CSeq, f[0])])
			}
		}
	}
}

// inviteOf is the last INVITE that has begun the callee's leg.
func inviteOf(s *stage) (ref tu.Ref) {
	for _, r := range s.refs {
		if x := s.clients[r]; x.msg.Method == "INVITE" && x.msg.To.Tag == "" {
			ref = r
		}
	}
	return ref
}

// moved reports whether a request is the call's INVITE, and other offers have been made since: what its 2xx says then answers nothing.
func (s *stage) moved(x *server) bool {
	return x == s.servers[1] && slices.ContainsFunc(s.order, func(tx tu.TxID) bool {
		o := s.servers[tx]
		return o != x && o.msg.Method != "INVITE" && negotiates(o.msg.Method) && described(o.msg)
	})
}

// grown checks that an offer within a dialog leaves none of its lines out (RFC 3264 §8).
func (s *stage) grown(a tu.Send) {
	s.t.Helper()
	if a.Msg.To.Tag == "" || !described(a.Msg) || a.Msg.Method != "INVITE" && a.Msg.Method != "UPDATE" {
		return
	}
	x := s.clients[a.Ref]
	if l := &s.c.legs[x.leg]; l.callID == a.Msg.CallID && mLines(sdpOf(a.Msg)) < mLines(l.media.in) {
		s.errorf("%s offers %d lines to the %s, which has %d", a.Msg.Method, mLines(sdpOf(a.Msg)), legNames[x.leg], mLines(l.media.in))
	}
}

// versioned checks that a peer is never told two things by one version, nor anything new by one that is not: "the version … MUST
// increment by one from the previous SDP" where it differs (RFC 3264 §8). Copies of what it was told before may come late.
func (s *stage) versioned(m *message.Message) {
	s.t.Helper()
	d, err := sdp.Parse(sdpOf(m))
	if err != nil || m.Method != "ACK" && !negotiates(m.Method) || m.Status >= 300 || m.To.Tag == "" {
		return // the first dialog's tag is yet to come
	}
	o, _ := d.Origin()
	ours, theirs := m.From.Tag, m.To.Tag
	if !m.IsRequest() {
		ours, theirs = theirs, ours
	}
	if s.told == nil {
		s.told = map[string][]string{}
	}
	key := m.CallID + " " + ours + " " + theirs + " " + o.SessionID
	version, _ := strconv.Atoi(o.Version)
	list := s.told[key] // by version, from 0
	switch {
	case o.SessionID == "1": // an offer is declined
	case version < len(list) && list[version] != string(sdpOf(m)):
		s.errorf("%s %d says by version %d of %d\n%s\nafter\n%s", m.Method, m.Status, version, len(list)-1, sdpOf(m), list[version])
	case version >= len(list):
		s.told[key] = append(list, make([]string, version+1-len(list))...)
		s.told[key][version] = string(sdpOf(m))
	}
}

func (s *stage) lined(m *message.Message, offer []byte) {
	s.t.Helper()
	if len(offer) == 0 || !described(m) {
		return
	}
	kinds := func(body []byte) (list []string) {
		for line := range bytes.Lines(body) {
			if rest, is := strings.CutPrefix(string(line), "m="); is {
				kind, _, _ := strings.Cut(rest, " ")
				list = append(list, kind)
			}
		}
		return list
	}
	if got, want := kinds(sdpOf(m)), kinds(offer); !slices.Equal(got, want) {
		s.errorf("%s %d answers %q with %q", m.Method, m.Status, want, got)
	}
}
