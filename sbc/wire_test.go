package sbc_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat/natlab"
	"sallyport/sbc/dialog"
	"sallyport/sbc/message"
	"sallyport/sbc/scan"
	"sallyport/sbc/tu"
)

// externalAt is what the world sees of the gate where a test puts it behind NAT.
var externalAt = netip.MustParseAddr("198.51.100.5")

// wire is a peer played by hand: it sends what the test builds, and reads what arrives in its order. It does nothing of
// itself: no retransmission, no automatic answer.
type wire struct {
	l    *lab
	at   netip.AddrPort
	conn *natlab.PacketConn
	n    int // of the branches and Call-IDs
	seen map[string]bool
}

func (l *lab) wire(at netip.AddrPort) *wire {
	l.t.Helper()
	conn, err := l.listen(at)
	if err != nil {
		l.t.Fatal(err)
	}
	return &wire{l: l, at: at, conn: conn, seen: map[string]bool{}}
}

func read(t *testing.T, b []byte) *message.Message {
	t.Helper()
	var v scan.View
	if err := scan.Scan(b, &v); err != nil {
		t.Fatalf("%v in\n%s", err, b)
	}
	m, err := message.Parse(b, &v)
	if err != nil {
		t.Fatalf("%v in\n%s", err, b)
	}
	return m
}

func write(t *testing.T, m *message.Message) []byte {
	t.Helper()
	b, err := m.Append(nil)
	if err != nil {
		t.Fatalf("%v in\n%s", err, m)
	}
	return b
}

// patience outlasts every timer of a transaction.
const patience = 40 * time.Second

// next is the next message within d, nil if none comes.
func (w *wire) next(d time.Duration) *message.Message {
	w.l.t.Helper()
	buf := make([]byte, 65536)
	until := time.Now().Add(d)
	for {
		_ = w.conn.SetReadDeadline(until)
		n, _, err := w.conn.ReadFromUDPAddrPort(buf)
		switch {
		case err == nil && w.seen[string(buf[:n])]: // a copy
		case err == nil:
			w.seen[string(buf[:n])] = true
			return read(w.l.t, buf[:n])
		case time.Now().Before(until): // word of an ICMP error
		default:
			return nil
		}
	}
}

// kind names a message: "INVITE", or "200 INVITE".
func kind(m *message.Message) string {
	if m.IsRequest() {
		return m.Method
	}
	return fmt.Sprint(m.Status, " ", m.Method)
}

// want reads until a message of a kind comes, and skips others.
func (w *wire) want(what string) *message.Message {
	w.l.t.Helper()
	var skipped []string
	for {
		m := w.next(patience)
		if m == nil {
			w.l.t.Fatalf("%s waits for %s in vain; it heard %v", w.at, what, skipped)
		}
		if kind(m) == what {
			return m
		}
		skipped = append(skipped, kind(m))
	}
}

// quiet checks that nothing of a kind comes within d; no kind: nothing at all.
func (w *wire) quiet(d time.Duration, kinds ...string) {
	w.l.t.Helper()
	until := time.Now().Add(d)
	for {
		m := w.next(time.Until(until))
		if m == nil {
			return
		}
		if len(kinds) == 0 || slices.Contains(kinds, kind(m)) {
			w.l.t.Errorf("%s should hear nothing, and hears\n%s", w.at, m)
		}
	}
}

func (w *wire) send(to netip.AddrPort, m *message.Message) {
	w.l.t.Helper()
	if to.Addr() == externalAt {
		to = netip.AddrPortFrom(gateOutside, to.Port()) // the 1:1 NAT in front of the gate
	}
	if _, err := w.conn.WriteToUDPAddrPort(write(w.l.t, m), to); err != nil {
		w.l.t.Fatal(err)
	}
	synctest.Wait() // what follows cannot overtake it by another socket
}

// throws is send where others act in the same moment.
func (w *wire) throws(to netip.AddrPort, m *message.Message) {
	w.l.t.Helper()
	if _, err := w.conn.WriteToUDPAddrPort(write(w.l.t, m), to); err != nil {
		w.l.t.Fatal(err)
	}
}

func (w *wire) via() []message.Via {
	w.n++
	return []message.Via{{
		Transport: "UDP", Host: w.at.Addr().String(), Port: w.at.Port(), Branch: fmt.Sprintf("z9hG4bK-%d-%d", w.at.Port(), w.n), RPort: -1,
	}}
}

func (w *wire) contact() string { return "<sip:here@" + w.at.String() + ">" }

func at(user string, a netip.AddrPort) message.URI {
	return message.URI{Scheme: "sip", User: user, Host: a.Addr().String(), Port: a.Port()}
}

// request is a request outside a dialog.
func (w *wire) request(method string, to netip.AddrPort, user string, extra ...message.Header) *message.Message {
	m := &message.Message{
		Method: method, URI: at(user, to), Via: w.via(), CSeq: 1, MaxForwards: 70,
		From: message.NameAddr{URI: at("4930555", w.at), Tag: fmt.Sprintf("tag-%d-%d", w.at.Port(), w.n)},
		To:   message.NameAddr{URI: at(user, to)}, CallID: fmt.Sprintf("call-%d@%s", w.n, w.at.Addr()),
	}
	if method == "INVITE" {
		m.Add("Contact", w.contact())
	}
	m.Headers = append(m.Headers, extra...)
	return m
}

func withBody(m *message.Message, body []byte) *message.Message {
	m.Add("Content-Type", "application/sdp")
	m.Body = body
	return m
}

// reply answers a request with a Contact, an SDP if there is one, and a To tag.
func (w *wire) reply(m *message.Message, code int, sdp []byte, extra ...message.Header) {
	w.l.t.Helper()
	r := message.Reply(m, code, "")
	if r.To.Tag == "" && code > 100 {
		r.To.Tag = fmt.Sprintf("answer-%d-%d", w.at.Port(), m.CSeq)
	}
	if m.Method == "INVITE" && code > 100 && code < 300 {
		r.Add("Contact", w.contact())
	}
	r.Headers = append(r.Headers, extra...)
	if len(sdp) > 0 {
		withBody(r, sdp)
	}
	v := m.Via[0]
	port := v.Port
	if port == 0 {
		port = 5060
	}
	w.send(netip.AddrPortFrom(netip.MustParseAddr(v.Host), port), r)
}

// party is one end of a dialog that two wires have through the gate.
type party struct {
	*wire
	gate netip.AddrPort
	dlg  dialog.Dialog
}

// within is a request of the dialog, with a Via of its own.
func (p *party) within(method string, seq uint32, extra ...message.Header) *message.Message {
	m := p.dlg.Request(method, seq)
	m.Via = p.via()
	if method == "INVITE" {
		m.Add("Contact", p.contact())
	}
	m.Headers = append(m.Headers, extra...)
	return m
}

func (p *party) ask(method string, extra ...message.Header) *message.Message {
	p.l.t.Helper()
	m := p.within(method, 0, extra...)
	p.send(p.gate, m)
	return m
}

// connect sets a call up from one wire to another and returns both ends.
func (l *lab) connect(from, to *wire, gate netip.AddrPort, extra ...message.Header) (caller, callee *party) {
	l.t.Helper()
	return l.connectWith(from, to, gate, sdpAt(from.at.Addr(), 4000), sdpAt(to.at.Addr(), 4002), extra...)
}

func (l *lab) connectWith(from, to *wire, gate netip.AddrPort, offer, answer []byte, extra ...message.Header) (caller, callee *party) {
	l.t.Helper()
	invite := withBody(from.request("INVITE", gate, "+4930123", extra...), offer)
	from.send(gate, invite)
	arrived := to.want("INVITE")
	to.reply(arrived, 180, nil, extra...)
	to.reply(arrived, 200, answer, extra...)
	caller, callee = l.ends(from, to, gate, invite, arrived, from.want("200 INVITE"))
	from.send(gate, caller.within("ACK", invite.CSeq))
	to.want("ACK")
	return caller, callee
}

// ends are the two dialogs of a call that has been answered.
func (l *lab) ends(from, to *wire, gate netip.AddrPort, invite, arrived, final *message.Message) (caller, callee *party) {
	l.t.Helper()
	caller, callee = &party{wire: from, gate: gate}, &party{wire: to, gate: contactOf(l.t, arrived)}
	var err error
	if caller.dlg, err = dialog.UAC(invite, final); err != nil {
		l.t.Fatal(err)
	}
	if callee.dlg, err = dialog.UAS(arrived, fmt.Sprintf("answer-%d-%d", to.at.Port(), arrived.CSeq)); err != nil {
		l.t.Fatal(err)
	}
	return caller, callee
}

// contactOf is where a message's Contact points.
func contactOf(t *testing.T, m *message.Message) netip.AddrPort {
	t.Helper()
	list, _, err := m.Contacts()
	if err != nil || len(list) != 1 {
		t.Fatalf("Contact: %v in\n%s", err, m)
	}
	a, err := netip.ParseAddr(list[0].URI.Host)
	if err != nil {
		t.Fatalf("Contact: %v in\n%s", err, m)
	}
	return netip.AddrPortFrom(a, max(list[0].URI.Port, 1))
}

// hangup ends a call from one end.
func hangup(by, other *party) {
	by.l.t.Helper()
	by.ask("BYE")
	other.reply(other.want("BYE"), 200, nil)
	by.want("200 BYE")
}

// field is a header field, written "Name: value".
func field(line string) message.Header {
	name, value, _ := strings.Cut(line, ": ")
	return message.Header{Name: name, Value: value}
}

// sounds are the datagrams that the relay sent.
type sounds struct {
	mu   sync.Mutex
	list []sound
}

type sound struct {
	from, to netip.AddrPort
	payload  string
}

func (s *sounds) take(local, dest netip.AddrPort, payload []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, sound{local, dest, string(payload)})
}

// drain are the datagrams since the last one.
func (s *sounds) drain() []sound {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.list
	s.list = nil
	return list
}

// record is the CDR of the only call.
func (l *lab) record() tu.CDR {
	l.t.Helper()
	all := l.cdrs.all()
	if len(all) != 1 {
		l.t.Fatalf("%d CDRs, want one: %+v", len(all), all)
	}
	return all[0]
}

// ladder is the last datagrams of a test, shown when it fails: text is made of them only then.
type ladder struct {
	mu    sync.Mutex
	last  [80]natlab.Datagram // a ring; the payloads are its own
	noted int
}

func (l *ladder) note(d natlab.Datagram) {
	l.mu.Lock()
	defer l.mu.Unlock()
	slot := &l.last[l.noted%len(l.last)]
	d.Payload = append(slot.Payload[:0], d.Payload...)
	*slot = d
	l.noted++
}

func (l *ladder) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	b.WriteString("the last datagrams:")
	for n := max(0, l.noted-len(l.last)); n < l.noted; n++ {
		d := &l.last[n%len(l.last)]
		first, _, _ := strings.Cut(string(d.Payload), "\r\n")
		_, cseq, _ := strings.Cut(string(d.Payload), "\r\nCSeq: ")
		cseq, _, _ = strings.Cut(cseq, "\r\n")
		fmt.Fprintf(&b, "\n%s %21s > %-21s %s  (%s)", d.At.Format("04:05.000"), d.Src, d.Dst, first, cseq)
	}
	return b.String()
}
