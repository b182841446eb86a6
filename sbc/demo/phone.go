package demo

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"sallyport/media/sdp"
	"sallyport/sbc/api"
	"sallyport/sbc/message"
)

// The phone's account at the PBX, and another one for phones that visit.
const (
	phoneUser    = "201"
	visitorUser  = "202"
	userPassword = "demo"
)

// mostWarm is how many packets a phone speaks at most before a stretch of audio is judged.
const mostWarm = 100

// phone is a roaming phone: it stands behind a NAT, so all that it says of its own address is private and wrong, while its
// packets come from an address and ports that it does not know.
type phone struct {
	*station
	registration *Registration
	outcomes     chan Registered // of its attempts to register
	keepalives   atomic.Int64    // OPTIONS that it answered
	socket       *net.UDPConn
}

// newPhone makes the phone, and the PBX its registrar.
func (h *house) newPhone(socket *net.UDPConn) *phone {
	p := &phone{station: h.station("phone", phoneUser, h.addresses.PhoneHome, socket), outcomes: make(chan Registered, 16), socket: socket}
	p.Domain, p.media, p.home = pbxDomain, h.addresses.Phone, h.addresses.PhoneHome.Addr()
	p.Outside = func(m *message.Message) *message.Message {
		if m.Method == "OPTIONS" && m.To.Tag == "" {
			p.keepalives.Add(1)
		}
		return nil
	}
	h.pbx.Registrar = &Registrar{
		Domain: pbxDomain, Users: map[string]string{phoneUser: userPassword, visitorUser: userPassword}, Expires: time.Hour, Calls: true,
	}
	return p
}

// attempt waits for the outcome of an attempt to register.
func (p *phone) attempt(ctx context.Context, begin func()) (Registered, error) {
	p.Do(begin)
	select {
	case r := <-p.outcomes:
		return r, nil
	case <-ctx.Done():
		return Registered{}, fmt.Errorf("the phone heard no answer to its REGISTER")
	}
}

// contact is what the PBX has in its book for the phone.
func (h *house) contact(ctx context.Context) (out message.URI, ok bool) {
	h.pbx.ask(ctx, func() {
		if list := h.pbx.Registrar.Contacts(phoneUser, h.pbx.now); len(list) > 0 {
			out, ok = list[0].URI, true
		}
	})
	return out, ok
}

func registers(ctx context.Context, h *house, s *Scene) {
	p := h.phone
	r, err := p.attempt(ctx, func() {
		p.Password = "guess"
		p.registration = p.Register(h.addresses.OutsidePhones, RegisterOptions{Retry: -1, Heard: p.heard})
	})
	switch _, bound := h.contact(ctx); {
	case err != nil:
		s.problem("%v", err)
		return
	case r.Code != 403 || bound:
		s.problem("a wrong password met %d, want the PBX's 403; the PBX has a contact: %v", r.Code, bound)
	default:
		s.finding("password  wrong: the challenge and the %d are the PBX's own, the gate knows no passwords", r.Code)
	}
	if r, err = p.attempt(ctx, func() { p.Password = userPassword; p.registration.Now() }); err != nil {
		s.problem("%v", err)
		return
	}
	contact, bound := h.contact(ctx)
	own := p.contact().URI
	switch {
	case r.Code != 200 || !bound:
		s.problem("the right password met %d; the PBX has a contact: %v", r.Code, bound)
		return
	case len(r.Contacts) != 1 || r.Contacts[0].URI != own:
		s.problem("the phone is told the contacts %v, want its own, %v", r.Contacts, own)
	case contact.Host != h.addresses.InsidePhones.Addr().String() || contact.User == phoneUser:
		s.problem("the PBX has the contact %v: no token at our inside address", contact)
	}
	s.finding("the phone says that it is at %s and will be registered for %v", own, r.Expires)
	s.finding("the PBX   will call it at %s", contact)
	h.showRegistration(ctx, s)
}

func (p *phone) heard(r Registered) {
	select {
	case p.outcomes <- r:
	default: // nobody directs the phone any more
	}
}

// showRegistration shows what `sbc registrations` says of the phone.
func (h *house) showRegistration(ctx context.Context, s *Scene) []api.Registration {
	list, err := h.control().Registrations(ctx, phoneUser)
	if err != nil || len(list) != 1 {
		s.problem("sbc registrations: %d bindings of the phone, want 1 (%v)", len(list), err)
		return nil
	}
	s.shown("sbc registrations "+phoneUser, api.RegistrationsFull(list, time.Now(), time.Local))
	return list
}

// warm lets the phone's end of a call speak until it is heard, as any phone does that sends silence from the first moment
// on: its description names an address and port that nobody can reach, and where its audio really comes from the gate
// first has to learn (RFC 7362 §4).
func (h *house) warm(ctx context.Context, s *Scene, phone, other *line) {
	h.mark++
	n := 0
	for n < mostWarm && other.sound.ear(h.mark).packets == 0 && ctx.Err() == nil {
		n += phone.sound.speak(ctx, h.mark, 1)
	}
	s.finding("latched   after %d packets of 20 ms: the phone says %s, its NAT shows %s", n, phone.sound.said, phone.sound.local)
}

func phoneCalls(ctx context.Context, h *house, s *Scene) {
	p, err := h.connect(ctx, h.phone.station, h.pbx, numberEcho)
	if err != nil {
		s.problem("%v", err)
		return
	}
	h.warm(ctx, s, p.caller, p.callee)
	h.talk(ctx, s, "both ways", p.caller, p.callee, talkLong, true)
	if h.reinvite(ctx, s, p.caller, p.call, sdp.SendOnly) {
		if n := p.callee.sound.speak(ctx, 0, 1); n > 0 {
			s.problem("the PBX may send although it is on hold")
		}
		h.talk(ctx, s, "on hold", p.caller, p.callee, talkShort, false)
	}
	if h.reinvite(ctx, s, p.caller, p.call, sdp.SendRecv) {
		h.talk(ctx, s, "after", p.caller, p.callee, talkShort, true)
	}
	h.hangUp(ctx, s, p, p.caller, p.call, "caller")
}

func phoneCalled(ctx context.Context, h *house, s *Scene) {
	h.callPhone(ctx, s, talkShort)
}

// callPhone lets the PBX call the phone, which hangs up after so much audio.
func (h *house) callPhone(ctx context.Context, s *Scene, n int) {
	p, err := h.connect(ctx, h.pbx, h.phone.station, phoneUser)
	if err != nil {
		s.problem("%v", err)
		return
	}
	h.warm(ctx, s, p.callee, p.caller)
	h.talk(ctx, s, "both ways", p.caller, p.callee, n, true)
	h.hangUp(ctx, s, p, p.callee, p.called, "callee")
}

// phoneMoves gives the phone another port, as a NAT does that has forgotten it.
func phoneMoves(ctx context.Context, h *house, s *Scene) {
	p := h.phone
	before := p.socket.LocalAddr().(*net.UDPAddr).AddrPort()
	socket, err := behindNAT(&h.addresses)
	if err != nil {
		s.problem("no socket for the phone: %v", err)
		return
	}
	h.conns = append(h.conns, socket)
	p.ask(ctx, func() {
		p.Rebind(socket)
		_ = p.socket.Close()
		p.socket = socket
	})
	after := socket.LocalAddr().(*net.UDPAddr).AddrPort()
	s.finding("the NAT   shows the phone at %s now, no more at %s", after, before)
	h.missPhone(ctx, s)
	r, err := p.attempt(ctx, p.registration.Now)
	if err != nil || r.Code != 200 {
		s.problem("registering again met %d (%v)", r.Code, err)
		return
	}
	if list := h.showRegistration(ctx, s); len(list) == 1 && list[0].Flow != "udp "+after.String() {
		s.problem("the gate has the phone at %s, want %s", list[0].Flow, after)
	}
	h.callPhone(ctx, s, talkShort)
}

// missPhone lets the PBX call the phone in vain.
func (h *house) missPhone(ctx context.Context, s *Scene) {
	l, err := h.pbx.dial(ctx, phoneUser, h, time.Second)
	if err != nil {
		s.problem("%v", err)
		return
	}
	select {
	case r := <-l.ended:
		if r.Code < 400 {
			s.problem("the PBX heard %d (%s) although nobody can be there", r.Code, r.Why)
		}
		s.finding("the PBX   hears %d (%s) when it calls", r.Code, r.Why)
	case <-ctx.Done():
		s.problem("the PBX never heard the end of the call")
		return
	}
	if _, ok := h.records.wait(ctx, h.calls-1); !ok {
		s.problem("no CDR was written")
	}
}

// visiting is how another phone registers.
func (a *Addresses) visiting() string {
	return fmt.Sprintf("user %s, password %s, domain %s, outbound proxy %s (udp); the phone of the demonstration is %s", visitorUser, userPassword,
		pbxDomain, a.OutsidePhones, phoneUser)
}
