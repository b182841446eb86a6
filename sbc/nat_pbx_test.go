package sbc_test

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"sallyport/nat/natlab"
	"sallyport/sbc/demo"
	"sallyport/sbc/message"
	"sallyport/sbc/scan"
)

// proxy makes the PBX a stateless proxy (RFC 3261 §16.11) in front of its registrar: descriptions pass untouched, and
// a call from phone to phone or between phone and trunk crosses the gate twice. It runs on the PBX agent's goroutine.
type proxy struct {
	*natlab.PacketConn
	registrar  *demo.Registrar
	record     bool            // it stays on the path of requests within dialogs
	challenged map[string]bool // branches of INVITEs that the registrar answers itself
	forks      map[string]*fork
	top        string // our branch of the response in hand
}

// fork is an INVITE for a user with several phones, by the caller's branch.
type fork struct {
	sent    []*message.Message // as it went to each phone
	pending []bool
}

// proxying is for newAudible.
func proxying(record bool) func(*natlab.PacketConn, *demo.Registrar) demo.PacketConn {
	return func(conn *natlab.PacketConn, r *demo.Registrar) demo.PacketConn {
		return &proxy{PacketConn: conn, registrar: r, record: record, challenged: map[string]bool{}, forks: map[string]*fork{}}
	}
}

// ReadFromUDPAddrPort reads what is for the registrar, and forwards the rest.
func (p *proxy) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	for {
		n, from, err := p.PacketConn.ReadFromUDPAddrPort(b)
		if err != nil || !p.forward(b[:n], from) {
			return n, from, err
		}
	}
}

const proxyBranch = "z9hG4bKproxied"

func (p *proxy) forward(b []byte, from netip.AddrPort) bool {
	var v scan.View
	if scan.Scan(b, &v) != nil {
		return false
	}
	m, err := message.Parse(b, &v)
	if err != nil {
		return false
	}
	m.SetSource(from)
	if !m.IsRequest() {
		return p.response(m)
	}
	switch m.Method {
	case "INVITE", "ACK", "BYE", "CANCEL", "UPDATE", "INFO":
	default:
		return false
	}
	branch := m.Via[0].Branch
	if _, ok := m.Get("Proxy-Authorization"); m.Method == "INVITE" && m.To.Tag == "" && from == phonesInside && !ok {
		p.challenged[branch] = true
	}
	if p.challenged[branch] {
		return false
	}
	if p.split(m) {
		return true
	}
	to := p.target(m)
	if m.Method == "INVITE" && p.record {
		m.Headers = slices.Insert(m.Headers, 0, message.Header{Name: "Record-Route", Value: "<sip:" + pbxAt.String() + ";lr>"})
	}
	m.MaxForwards--
	m.Via = slices.Insert(m.Via, 0, message.Via{
		Transport: "UDP", Host: pbxAt.Addr().String(), Port: pbxAt.Port(), Branch: proxyBranch + strings.TrimPrefix(branch, "z9hG4bK"), RPort: -1,
	})
	p.put(m, to)
	return true
}

// target is where a request goes: where its Request-URI says, which for a user of ours is his contact, and for any other
// number the gate's side for trunks.
func (p *proxy) target(m *message.Message) netip.AddrPort {
	m.Remove("Route") // it names us
	if m.URI.Host == p.registrar.Domain || m.URI.Host == pbxAt.Addr().String() {
		if list := p.registrar.Contacts(m.URI.User, time.Now()); len(list) > 0 {
			m.URI = list[0].URI
		} else {
			m.URI = at(m.URI.User, pbxSocket)
		}
	}
	addr, err := netip.ParseAddr(m.URI.Host)
	if err != nil {
		return phonesInside
	}
	return netip.AddrPortFrom(addr, m.URI.Port)
}

func (p *proxy) response(m *message.Message) bool {
	if len(m.Via) < 2 || !strings.HasPrefix(m.Via[0].Branch, proxyBranch) {
		return false
	}
	p.top = m.Via[0].Branch
	m.Via = m.Via[1:]
	if p.gather(m) {
		return true
	}
	next := m.Via[0]
	p.put(m, netip.AddrPortFrom(netip.MustParseAddr(next.Host), next.Port))
	return true
}

func (p *proxy) put(m *message.Message, to netip.AddrPort) {
	b, err := m.Append(nil)
	if err != nil {
		return
	}
	_, _ = p.WriteToUDPAddrPort(b, to)
}

// split sends a user's call to all of his phones (RFC 3261 §16.6), each under a branch of its own.
func (p *proxy) split(m *message.Message) bool {
	if m.Method != "INVITE" || m.To.Tag != "" || m.URI.Host != p.registrar.Domain {
		return false
	}
	list := p.registrar.Contacts(m.URI.User, time.Now())
	if len(list) < 2 {
		return false
	}
	f := &fork{pending: make([]bool, len(list))}
	p.forks[m.Via[0].Branch] = f
	for i, c := range list {
		one := *m
		one.URI, one.MaxForwards = c.URI, m.MaxForwards-1
		one.Headers = slices.Insert(slices.Clone(m.Headers), 0, message.Header{Name: "Record-Route", Value: "<sip:" + pbxAt.String() + ";lr>"})
		one.Via = slices.Insert(slices.Clone(m.Via), 0, message.Via{
			Transport: "UDP", Host: pbxAt.Addr().String(), Port: pbxAt.Port(), Branch: proxyBranch + "-fork" + strconv.Itoa(i) + m.Via[0].Branch, RPort: -1,
		})
		f.sent, f.pending[i] = append(f.sent, &one), true
		p.put(&one, netip.AddrPortFrom(netip.MustParseAddr(c.URI.Host), c.URI.Port))
	}
	return true
}

// gather takes a response to one branch of a fork, below our Via: a 2xx goes on and ends the others (§16.7), a refusal
// is acknowledged here. It reports whether that is all.
func (p *proxy) gather(r *message.Message) bool {
	f := p.forks[r.Via[0].Branch]
	switch {
	case f == nil:
		return false
	case r.Method == "CANCEL" || r.Status == 100:
		return true
	case r.Status < 200:
		return false
	}
	i := slices.IndexFunc(f.sent, func(s *message.Message) bool { return s.Via[0].Branch == p.top })
	f.pending[i] = false
	if r.Status >= 300 {
		p.hop(f.sent[i], "ACK", r.To)
		return true
	}
	for other, pending := range f.pending {
		if pending {
			p.hop(f.sent[other], "CANCEL", f.sent[other].To)
		}
	}
	return false
}

// hop sends the ACK or CANCEL of an INVITE of ours (§9.1, §17.1.1.3).
func (p *proxy) hop(invite *message.Message, method string, to message.NameAddr) {
	p.put(&message.Message{
		Method: method, URI: invite.URI, Via: invite.Via[:1], From: invite.From, To: to, CallID: invite.CallID, CSeq: invite.CSeq, MaxForwards: 70,
	}, netip.AddrPortFrom(netip.MustParseAddr(invite.URI.Host), invite.URI.Port))
}

// bridges makes the PBX a B2BUA for calls to its users and to numbers outside. relay are the voices of its own media
// relay; none: it hands the descriptions over as they are.
func (l *audible) bridges(relay ...*voice) {
	if len(relay) == 2 {
		relay[0].pass, relay[1].pass = relay[1], relay[0]
	}
	l.do(l.pbx, func() {
		l.pbx.Incoming = func(m *message.Message) demo.Script { return l.bridge(m, relay) }
	})
}

func (l *audible) bridge(m *message.Message, relay []*voice) demo.Script {
	var in, out *demo.Call
	var answer []byte
	offer := m.Body
	if len(relay) == 2 {
		relay[0].aim(m.Body)
		offer = relay[1].sdp()
	}
	script := demo.Script{
		SDP: offer,
		Media: func(sdp []byte) {
			answer = sdp
			if len(relay) == 2 {
				relay[1].aim(sdp)
				answer = relay[0].sdp()
			}
		},
		Up: func(c *demo.Call) { out = c },
		Done: func(demo.Result) {
			if in != nil {
				in.Hangup()
			}
		},
	}
	user := m.URI.User
	if list := l.registrar.Contacts(user, time.Now()); len(list) > 0 {
		to := message.NameAddr{URI: message.URI{Scheme: "sip", User: user, Host: "example.com"}}
		l.pbx.Invite(list[0].URI, to, phonesInside, script)
	} else {
		l.pbx.Call(user, pbxSocket, script)
	}
	return demo.Script{
		Ring: 100 * time.Millisecond, Answer: 2 * time.Second,
		Reply: func([]byte) []byte { return answer },
		Up:    func(c *demo.Call) { in = c },
		Done: func(demo.Result) {
			if out != nil {
				out.Hangup()
			}
		},
	}
}
