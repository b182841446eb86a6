package demo

import (
	"cmp"
	"net/netip"
	"strconv"
	"time"

	"sallyport/sbc/message"
)

// RegisterOptions say how an agent registers. The zero value is an ordinary phone.
type RegisterOptions struct {
	Expires  time.Duration    // asked for; 0: an hour
	Retry    time.Duration    // from a refusal or no answer to the next attempt; 0: 30 s; negative: none
	Instance string           // +sip.instance of the Contact (RFC 5626 §4.1): "urn:uuid:…"; empty: none
	Heard    func(Registered) // on the agent's goroutine: each outcome
}

// Registered is the outcome of one REGISTER, after any challenge.
type Registered struct {
	Code     int // 0: no answer
	Expires  time.Duration
	Contacts []message.NameAddr // as the answer lists them
}

// Registration keeps an agent registered (RFC 3261 §10.2): it answers challenges and refreshes in time. Its methods must
// run on the agent's goroutine.
type Registration struct {
	a       *Agent
	to      netip.AddrPort
	opt     RegisterOptions
	login   login
	callID  string
	tag     string
	seq     uint32
	tries   int
	asks    time.Duration // expiry: a 423 raises it
	leaving bool
	turn    int // of the timer: what was begun anew lets the old one go
}

// The times of a registration where its options say nothing.
const (
	registerExpires = time.Hour
	registerRetry   = 30 * time.Second
)

// Register registers the agent's number in its Domain by way of an address, with its Password, and keeps it so. It must run
// on the agent's goroutine (Do).
func (a *Agent) Register(by netip.AddrPort, opt RegisterOptions) *Registration {
	r := &Registration{
		a: a, to: by, opt: opt, callID: a.ids.CallID() + "@" + a.Addr.Addr().String(), tag: a.ids.Tag(),
		asks: cmp.Or(opt.Expires, registerExpires),
	}
	r.Now()
	return r
}

// Now registers at once: after the way to the phone has changed, or the password.
func (r *Registration) Now() {
	r.tries, r.leaving, r.login.answered = 0, false, false
	r.turn++
	r.send()
}

// End takes the registration back (RFC 3261 §10.2.2).
func (r *Registration) End() {
	r.tries, r.leaving, r.login.answered = 0, true, false
	r.turn++
	r.send()
}

// Stop refreshes it no more and tells nobody: the phone is switched off.
func (r *Registration) Stop() { r.turn++ }

func (r *Registration) send() {
	a := r.a
	r.seq++
	r.tries++
	self := message.NameAddr{URI: a.own()}
	m := a.Request("REGISTER", message.URI{Scheme: "sip", Host: self.URI.Host, Port: self.URI.Port}, self)
	m.CallID, m.CSeq, m.From.Tag = r.callID, r.seq, r.tag
	contact := a.contact()
	if r.opt.Instance != "" {
		contact.Params = `;+sip.instance="<` + r.opt.Instance + `>"`
	}
	m.Add("Contact", contact.String())
	expires := r.asks
	if r.leaving {
		expires = 0
	}
	m.Add("Expires", strconv.Itoa(int(expires/time.Second)))
	r.login.sign(a, m)
	turn := r.turn
	a.Ask(m, r.to, func(resp *message.Message) {
		if turn == r.turn { // else a later one is on its way
			r.answered(resp)
		}
	})
}

func (r *Registration) answered(m *message.Message) {
	if m == nil {
		r.outcome(Registered{})
		return
	}
	if r.tries < maxTries && r.login.challenged(r.a, m) {
		r.send()
		return
	}
	if v, ok := m.Get("Min-Expires"); m.Status == 423 && ok && r.tries < maxTries { // RFC 3261 §10.2.8
		if n, err := strconv.Atoi(v); err == nil && time.Duration(n)*time.Second > r.asks {
			r.asks = time.Duration(n) * time.Second
			r.send()
			return
		}
	}
	out := Registered{Code: m.Status}
	out.Contacts, _, _ = m.Contacts()
	if m.Status == 200 {
		out.Expires = r.granted(m, out.Contacts)
	}
	r.outcome(out)
}

// outcome tells of the end of an attempt and arms the next.
func (r *Registration) outcome(out Registered) {
	next := cmp.Or(r.opt.Retry, registerRetry)
	if out.Code == 200 {
		next = out.Expires * 3 / 4
		if out.Expires <= 0 {
			next = -1
		}
	}
	if next > 0 && !r.leaving {
		turn := r.turn
		r.a.keep(next, func() {
			if turn == r.turn {
				r.Now()
			}
		})
	}
	if r.opt.Heard != nil {
		r.opt.Heard(out)
	}
}

// granted is the expiry of our own Contact in a 2xx (RFC 3261 §10.2.4), else that of the answer.
func (r *Registration) granted(m *message.Message, list []message.NameAddr) time.Duration {
	seconds := func(s string) time.Duration {
		n, _ := strconv.Atoi(s)
		return time.Duration(n) * time.Second
	}
	own := r.a.contact().URI.String()
	for i := range list {
		if list[i].URI.String() == own {
			if v, ok := list[i].Param("expires"); ok {
				return seconds(v)
			}
		}
	}
	v, _ := m.Get("Expires")
	return seconds(v)
}
