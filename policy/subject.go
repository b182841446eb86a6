package policy

import (
	"net/netip"
	"time"

	"sallyport/nat"
	"sallyport/policy/geo"
	"sallyport/sbc/scan"
)

// MaxMessageBytes is the largest message that the guard lets on.
const MaxMessageBytes = scan.MaxMessage

// Packet is one received datagram, or one message cut from a stream, with the raw scan of it. The guard keeps none of
// its parts.
type Packet struct {
	Now       time.Time
	Interface *nat.Interface
	Source    netip.AddrPort
	Data      []byte
	View      *scan.View // filled by scan.Scan(Data, View)
	ScanErr   error      // what scan.Scan returned
	Peer      *Peer      // who the connection has proven to be; nil: the source's address says who it is
}

// Subject is what Decide judges: who sent what to which listener. Its byte slices belong to the packet.
type Subject struct {
	Side      nat.Side
	Realm     nat.Realm
	Transport nat.Transport
	Source    netip.AddrPort // unmapped, without zone
	Key       netip.Addr     // SourceKey of it
	Peer      *Peer          // who that is at this listener; nil: a stranger
	Behind    int            // phones registered behind Key, now or within the last ten minutes
	Size      int            // bytes

	Malformed   bool // the scan found an error
	Unreadable  bool // so badly that there is nothing to answer
	Request     bool
	Method      Method // of a request
	CallID      []byte
	Branch      []byte // of the top Via
	ToTag       []byte
	FromTag     []byte
	CSeq        uint32
	Agents      [scan.MaxAgents][]byte // User-Agent of a request, Server of a response, folded as they arrived
	From        []byte                 // value of the From field
	To          []byte                 // value of the To field
	URI         []byte                 // of a request
	Credentials bool                   // carries an answer to a challenge
	Nonces      [scan.MaxNonces][]byte // the challenges that it answers
	Text        []byte                 // all of it
	Proven      bool                   // nobody else can have sent it: it came by a stream, or answers a challenge that went to its source

	peers      *peerTable // of the guard, where systems are known by more than one address; nil: they are not
	hash       uint64     // hashOf Key, once somebody has asked
	country    geo.Code   // of the source, once somebody has asked
	hasCountry bool
	listed     [3]listed // what the white and the black list say, from step 2 on

	Trial bool // only asked what would happen: nothing is charged or counted
}

// Kind is what the source is at this listener.
func (s *Subject) Kind() PeerKind {
	if s.Peer == nil {
		return Stranger
	}
	return s.Peer.Kind
}

// reserved reports whether the source's debt is kept where strangers cannot take its room: that of known peers, and of
// addresses whose phones were registered until lately, such as an office that comes back after an outage.
func (s *Subject) reserved() bool { return s.Kind() != Stranger || s.Behind > 0 }

// readSource fills in who sent it and where it arrived.
func (s *Subject) readSource(i *nat.Interface, source netip.AddrPort) {
	s.Side, s.Realm, s.Transport = i.Side, i.Realm, i.Transport
	a := source.Addr().Unmap().WithZone("")
	s.Source = netip.AddrPortFrom(a, source.Port())
	s.Key = SourceKey(a)
}

// readMessage fills in what the raw scan found. It is the only place that reads a View.
func (s *Subject) readMessage(p *Packet) {
	v := p.View
	s.Size, s.Text = len(p.Data), p.Data
	s.Malformed = p.ScanErr != nil
	s.Unreadable = s.Malformed && !v.Complete()
	s.Request = v.IsRequest
	if s.Request {
		s.Method = MethodOf(v.Bytes(v.Method))
	}
	s.CallID, s.Branch, s.CSeq = v.Bytes(v.CallID), v.Bytes(v.Branch), v.CSeq
	s.ToTag, s.FromTag = v.Bytes(v.ToTag), v.Bytes(v.FromTag)
	s.From, s.To, s.URI = v.Bytes(v.From), v.Bytes(v.To), v.Bytes(v.RequestURI)
	s.Credentials, s.Proven = !v.Authorization.Empty(), s.Transport.Reliable()
	for i := range min(v.Answers, len(v.Nonces)) {
		s.Nonces[i] = v.Bytes(v.Nonces[i])
	}
	for i := range min(v.Agents, len(v.UserAgents)) {
		s.Agents[i] = v.Bytes(v.UserAgents[i])
	}
	if v.Agents > len(v.UserAgents) {
		// User-Agent and Server are single-valued (RFC 3261 §20.35, §20.41); one name too many to look at is a trick.
		s.Malformed = true
	}
	if v.Answers > len(v.Nonces) {
		s.Malformed = true // nobody has been asked by so many: it is there to hide one of them
	}
}
