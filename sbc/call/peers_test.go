package call

import (
	"fmt"
	"net/netip"
	"strings"

	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// request builds a request of a peer; tag tells which dialog: of the caller's ours, of the callee's its own.
func (s *stage) request(l int, method, tag string, cseq uint32, body []byte) *message.Message {
	at := homeOf(s.hop[l])
	m := &message.Message{
		Method: method, URI: message.URI{Scheme: "sip", User: "+4930123", Host: s.hop[l].Here.Signal.Addr().String(), Port: s.hop[l].Here.Signal.Port()},
		Via:  []message.Via{{Transport: "UDP", Host: at.Addr().String(), Branch: fmt.Sprint("z9hG4bK", len(s.order)), RPort: -1}},
		CSeq: cseq, MaxForwards: 70, Body: body,
		Headers: []message.Header{{Name: "User-Agent", Value: "FreeSWITCH"}},
	}
	if l == caller {
		id, mine := "inside-id", "pbxtag" // so that a leak is seen
		if s.hop[l].Peer.Side == nat.Outside {
			id, mine = "outside-id", "itsptag"
		}
		m.CallID = id + "@" + at.Addr().String()
		m.From = message.NameAddr{URI: message.URI{Scheme: "sip", User: "+49401", Host: at.Addr().String()}, Tag: mine}
		m.To = message.NameAddr{URI: message.URI{Scheme: "sip", User: "+4930123", Host: s.hop[l].Here.Signal.Addr().String()}, Tag: tag}
		s.ofPhones(m)
	} else {
		for _, ref := range s.refs {
			if x := s.clients[ref]; x.leg == callee {
				m.CallID, m.From, m.To = x.msg.CallID, x.msg.To, x.msg.From
			}
		}
		m.From.Tag = tag
	}
	if method == "INVITE" || method == "UPDATE" || method == "NOTIFY" {
		m.Add("Contact", "<sip:"+legNames[l]+"@"+at.String()+">")
	}
	if len(body) > 0 {
		m.Add("Content-Type", "application/sdp")
	}
	return m
}

// homeOf is what a peer thinks its address is.
func homeOf(h tu.Hop) netip.AddrPort {
	for _, x := range phoneAt {
		if h.Peer.Kind == tu.KindPhone && h.Peer.Name == x.user+"@example.com" {
			return netip.MustParseAddrPort(x.own)
		}
	}
	return h.Flow.Remote
}

// ofPhones names the parties of a call as phones and their PBX do.
func (s *stage) ofPhones(m *message.Message) {
	p := s.hop[caller].Peer
	if p.Realm != nat.Phones {
		return
	}
	m.From.URI = message.URI{Scheme: "sip", User: "210", Host: "example.com"}
	m.To.URI = message.URI{Scheme: "sip", User: "204", Host: "example.com"}
	if p.Kind == tu.KindPhone {
		m.From.URI.User, _, _ = strings.Cut(p.Name, "@")
		m.To.URI.User = "+4930123"
		m.URI = m.To.URI
		return
	}
	m.URI.User = "token204token204"
}

// arrive makes an Arrived event of a request.
func (s *stage) arrive(l int, m *message.Message, from netip.AddrPort) tu.Arrived {
	tx := tu.TxID(len(s.order) + 1)
	s.servers[tx] = &server{leg: l, msg: m}
	s.order = append(s.order, tx)
	h := s.hop[l]
	ev := tu.Arrived{Tx: tx, Msg: m, Flow: h.Flow, Peer: h.Peer, Here: h.Here}
	if from.IsValid() {
		ev.Flow.Remote, ev.Peer = from, nil
		s.servers[tx].foreign = h.Peer.Kind == tu.KindPhone && m.To.Tag != ""
	}
	return ev
}

// response builds a response of a peer to a request of ours, and notes what it makes due.
func (s *stage) response(x *client, status int, tag string, body []byte) tu.Answered {
	m := message.Reply(x.msg, status, "")
	m.To.Tag = x.msg.To.Tag
	if m.To.Tag == "" {
		m.To.Tag = tag
	}
	at := homeOf(x.hop)
	if x.msg.Method == "INVITE" && status < 300 || x.msg.Method == "UPDATE" && status < 300 {
		m.Add("Contact", "<sip:"+legNames[x.leg]+"@"+at.String()+">")
	}
	if len(body) > 0 {
		m.Add("Content-Type", "application/sdp")
		m.Body = body
	}
	m.Add("Server", "FreeSWITCH")
	if status >= 200 {
		x.final = status
		if x.msg.Method == "INVITE" && status < 300 {
			ack := *x.msg
			ack.To.Tag = m.To.Tag
			s.want[ackKey(&ack)] = true
			delete(s.byed, dialogAt(m, x.hop)) // it lives in spite of a BYE while it was early
		}
	} else {
		x.rang = true
	}
	return tu.Answered{Ref: x.ref, Msg: m, Flow: x.hop.Flow}
}

// reserve answers a Reserve.
func (s *stage) reserved(n int) tu.Reserved {
	var out []tu.Stream
	for range n {
		out = append(out, tu.Stream{Local: [2]netip.AddrPort{
			netip.AddrPortFrom(gate[0], uint16(s.port)), netip.AddrPortFrom(gate[1], uint16(s.port)),
		}})
		s.port += 2
	}
	return tu.Reserved{Streams: out, Print: gatePrint}
}

// describe writes a session description: kind:port[:direction[:format+format…]][@address], several with commas. A format is
// a payload type, with NUMBER=ENCODING(PARAMETERS) for its rtpmap and fmtp; those of describeSeal make it SRTP.
func describe(at netip.AddrPort, spec string) []byte {
	if spec == "bad" {
		return []byte("v=0\r\nm=audio x\r\n")
	}
	if kind, list, ok := strings.Cut(spec, ":"); ok && (kind == "anat" || kind == "mixed") {
		return describeAlternatives(list, kind == "anat")
	}
	var b strings.Builder
	host := network(at.Addr())
	if s, h, ok := strings.Cut(spec, "@"); ok {
		spec, host = s, "IN IP4 "+h
		if a, err := netip.ParseAddr(h); err == nil {
			host = network(a)
		}
	}
	head, _ := describeWeb(strings.ReplaceAll(strings.ReplaceAll(spec, ",", "+"), ":", "+"))
	fmt.Fprintf(&b, "v=0\r\no=FreeSWITCH 1 1 %s\r\ns=FreeSWITCH\r\nc=%s\r\nt=0 0\r\n%s", network(at.Addr()), host, head)
	for line := range strings.SplitSeq(spec, ",") {
		f := append(strings.SplitN(line, ":", 4), "", "", "")
		numbers, attributes := describeFormats(f[3])
		proto, keys := describeSeal(f[3])
		if f[0] == "image" {
			proto, numbers, attributes = describeFax(f[3])
		}
		fmt.Fprintf(&b, "m=%s %s %s%s\r\n", f[0], f[1], proto, numbers)
		if f[2] != "" {
			fmt.Fprintf(&b, "a=%s\r\n", f[2])
		}
		_, web := describeWeb(f[3])
		b.WriteString(keys + attributes + web)
	}
	return []byte(b.String())
}

// describeFormats are the formats of an m= line and the attributes that go with them.
func describeFormats(spec string) (numbers, attributes string) {
	if spec == "" {
		return " 0", ""
	}
	var m, a strings.Builder
	for f := range strings.SplitSeq(spec, "+") {
		if sealLines[f] != "" || sealProtocols[f] != "" || webWord(f) {
			continue
		}
		number, encoding, mapped := strings.Cut(f, "=")
		m.WriteString(" " + number)
		encoding, parameters, formatted := strings.Cut(strings.TrimSuffix(encoding, ")"), "(")
		if mapped {
			fmt.Fprintf(&a, "a=rtpmap:%s %s\r\n", number, encoding)
		}
		if formatted {
			fmt.Fprintf(&a, "a=fmtp:%s %s\r\n", number, parameters)
		}
	}
	return m.String(), a.String()
}
