package sdp

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// ICE are the credentials by which a peer and we know each other's checks (RFC 8839 §5.4).
type ICE struct{ Fragment, Password string }

// ICE are the credentials of stream i, its own or the session's. It reports false where there are none, or none that any
// check could be made with.
func (s *Session) ICE(i int) (c ICE, ok bool) {
	c.Fragment, _ = s.valueOf(i, "ice-ufrag")
	c.Password, _ = s.valueOf(i, "ice-pwd")
	c.Fragment, c.Password = strings.TrimSpace(c.Fragment), strings.TrimSpace(c.Password)
	ok = iceChars(c.Fragment, 4) && iceChars(c.Password, 22)
	if !ok {
		return ICE{}, false
	}
	return c, true
}

// iceChars reports whether text is a number of ice-char, from least to 256 (RFC 8839 §5.4).
func iceChars(text string, least int) bool {
	const besides = "+/-_=" // the last three are of those who took another base64
	return len(text) >= least && len(text) <= 256 && !strings.ContainsFunc(text, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(besides, r)
	})
}

// Lite reports whether the peer only answers checks (RFC 8839 §5.3). Two of that kind make none.
func (s *Session) Lite() bool {
	return slices.ContainsFunc(s.head, func(l line) bool { return l.among([]string{"ice-lite"}) })
}

// Mid is the name of a stream (RFC 5888 §4), empty if it has none.
func (s *Session) Mid(i int) string {
	return identifier(s.media[i])
}

// Bundled reports whether a stream is one of several that the peer would have share a transport, and can have one of its
// own (RFC 9143 §7.2, §6).
func (s *Session) Bundled(i int) bool {
	mid := s.Mid(i)
	if mid == "" || slices.ContainsFunc(s.media[i], func(l line) bool { return l.among([]string{"bundle-only"}) }) {
		return false
	}
	for _, l := range s.head {
		name, v := l.attribute()
		if f := strings.Fields(v); strings.EqualFold(name, "group") && len(f) > 1 && f[0] == "BUNDLE" && slices.Contains(f[1:], mid) {
			return true
		}
	}
	return false
}

// Unplace has the c= line of stream i say nothing: where ICE is, its address may be 0.0.0.0 or a name, and is no hold (RFC
// 8839 §4.2.1.2: "the default candidate"). SetMedia puts ours there.
func (s *Session) Unplace(i int) {
	isConnection := func(l line) bool { return l.text[0] == 'c' }
	s.media[i] = slices.DeleteFunc(s.media[i], isConnection)
	if c, ok := s.connection(nil); ok && !s.moved && (!c.addr.IsValid() || unspecified(c.addr)) {
		s.head = slices.DeleteFunc(s.head, isConnection)
	}
}

// Transport is how a stream gets to a peer and who is at its ends: what each leg has for itself. The zero Transport is
// plain RTP.
type Transport struct {
	Print     Fingerprint // of our certificate; without a hash there is no handshake
	Setup     Setup
	Mux       bool // RTCP on the RTP port (RFC 5761)
	ICE       ICE  // ours; empty: none
	Candidate netip.AddrPort
	Control   bool   // one for RTCP besides, on the port above
	Mid       string // the peer's name of the stream; empty: it has none
	Bundled   bool   // it is the one stream of a bundle
	Shared    bool   // both peers have the rest in common: nothing but the handshake is taken out
}

// SetTransports takes everything out that says how a peer's streams get here, with what else only peers that talk to each
// other directly understand (header extensions, sources, simulcast, feedback that the profile has not), and writes what
// holds towards the other one. A stream whose Transport is nil stays as it is, as does one without a Transport.
func (s *Session) SetTransports(list []*Transport) {
	own := keysOfStream
	for i, t := range list {
		if t == nil || i >= len(s.media) {
			continue
		}
		if !t.Shared {
			s.strip(i)
			own = ownOfSession
		}
		s.media[i] = slices.DeleteFunc(s.media[i], func(l line) bool { return l.among(keysOfStream) })
	}
	s.inherit(list)
	s.head = slices.DeleteFunc(s.head, func(l line) bool { return l.among(own) })
	bundle, lite := "", false
	for i, t := range list {
		if t == nil || t.Shared || i >= len(s.media) {
			continue
		}
		s.write(i, t)
		lite = lite || t.ICE.Fragment != ""
		if t.Bundled && bundle == "" {
			bundle = t.Mid
		}
	}
	if lite {
		s.head = s.insert(s.head, len(s.head), "a=ice-lite")
	}
	if bundle != "" {
		s.head = s.insert(s.head, len(s.head), "a=group:BUNDLE "+bundle)
	}
}

// DropTransports is SetTransports for a description that is no offer and no answer, and says what its writer can do.
func (s *Session) DropTransports() {
	list := make([]*Transport, len(s.media))
	for i := range list {
		list[i] = &Transport{}
	}
	s.SetTransports(list)
}

// strip takes out what a peer says of the transport of stream i.
func (s *Session) strip(i int) {
	m := s.At(i)
	_, feedback, _ := m.Profile()
	s.media[i] = slices.DeleteFunc(s.media[i], func(l line) bool {
		name, _ := l.attribute()
		return l.among(ownOfStream) || iceAttribute(name) || !feedback && strings.EqualFold(name, "rtcp-fb")
	})
}

// inherit gives streams that stay as they are what the session says of their handshake, before it goes.
func (s *Session) inherit(list []*Transport) {
	for i := range s.media {
		m := s.At(i)
		if i < len(list) && list[i] != nil || !strings.Contains(strings.ToUpper(m.Proto), "TLS") {
			continue
		}
		for _, name := range keysOfStream {
			own := slices.ContainsFunc(s.media[i], func(l line) bool { return l.among([]string{name}) })
			for _, l := range s.head {
				if !own && l.among([]string{name}) {
					s.media[i] = s.insert(s.media[i], len(s.media[i]), l.text)
				}
			}
		}
	}
}

// write adds the lines of a transport to stream i.
func (s *Session) write(i int, t *Transport) {
	add := func(on bool, text string) {
		if on {
			s.media[i] = s.insert(s.media[i], len(s.media[i]), "a="+text)
		}
	}
	add(t.Mid != "", "mid:"+t.Mid)
	add(t.Print.Hash != "", "fingerprint:"+t.Print.String())
	add(t.Setup != NoSetup, "setup:"+string(t.Setup))
	add(t.Mux, "rtcp-mux")
	if t.ICE.Fragment == "" {
		return
	}
	add(true, "ice-ufrag:"+t.ICE.Fragment)
	add(true, "ice-pwd:"+t.ICE.Password)
	add(t.Candidate.IsValid(), candidate(1, t.Candidate))
	add(t.Candidate.IsValid() && t.Control, candidate(2, netip.AddrPortFrom(t.Candidate.Addr(), t.Candidate.Port()+1)))
}

// candidate is the only one of a component (RFC 8839 §5.1).
func candidate(component int, at netip.AddrPort) string {
	const host = 126<<24 + 65535<<8 + 256 // type preference, the highest local preference (RFC 8445 §5.1.2.1)
	return "candidate:1 " + strconv.Itoa(component) + " UDP " + strconv.Itoa(host-component) + " " +
		at.Addr().Unmap().WithZone("").String() + " " + strconv.Itoa(int(at.Port())) + " typ host"
}
