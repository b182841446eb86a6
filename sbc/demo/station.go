package demo

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"time"

	"sallyport/media/sdp"
	"sallyport/sbc/message"
)

// station is a stand-in: an agent whose calls have audio, and a plan of numbers.
type station struct {
	*Agent
	arrived chan *line // each call that comes in, as long as somebody takes them
	media   netip.Addr // where its audio is
	home    netip.Addr // and where it says that it is, behind a NAT; invalid: there

	mu   sync.Mutex
	open map[*line]bool
}

// line is one call at one station.
type line struct {
	st    *station
	sound *sound
	up    chan *Call // the call stands
	asked chan int   // answers to our re-INVITEs
	ended chan Result
}

// most bounds the calls of a station: each has a socket.
const most = 200

// The numbers that a station answers, by their last digits; every other one is answered and echoed.
const (
	numberEcho = "+4930100"
	numberBusy = "+4930486"
	numberRing = "+4930180"
	numberAway = "+4989100" // at the provider
)

func newStation(a *Agent) *station {
	st := &station{Agent: a, arrived: make(chan *line, 1), media: a.Addr.Addr(), open: map[*line]bool{}}
	a.Incoming = st.incoming
	return st
}

// newLine opens the audio of a call; nil if there is no room for more.
func (st *station) newLine(echo bool) *line {
	st.mu.Lock()
	defer st.mu.Unlock()
	if len(st.open) >= most {
		return nil
	}
	s, err := listen(st.media, st.home, echo)
	if err != nil {
		return nil
	}
	l := &line{st: st, sound: s, up: make(chan *Call, 1), asked: make(chan int, 4), ended: make(chan Result, 1)}
	st.open[l] = true
	return l
}

// script is what every call of a line has.
func (l *line) script() Script {
	return Script{
		Reply: l.sound.answer,
		Media: l.sound.aim,
		Up:    func(c *Call) { l.up <- c },
		Reinvited: func(code int) {
			select {
			case l.asked <- code:
			default:
			}
		},
		Done: func(r Result) {
			l.ended <- r
			l.close()
		},
	}
}

// close ends the audio. The counts stay readable.
func (l *line) close() {
	l.st.mu.Lock()
	open := l.st.open[l]
	delete(l.st.open, l)
	l.st.mu.Unlock()
	if open {
		l.sound.close()
	}
}

// closeAll ends the audio of what is left when the agent has ended.
func (st *station) closeAll() {
	st.mu.Lock()
	var left []*line
	for l := range st.open {
		left = append(left, l)
	}
	st.mu.Unlock()
	for _, l := range left {
		l.close()
	}
}

// incoming answers a call by the plan of numbers.
func (st *station) incoming(m *message.Message) Script {
	if strings.HasSuffix(m.URI.User, numberBusy[len(numberBusy)-3:]) {
		return Script{Answer: 20 * time.Millisecond, Refuse: 486}
	}
	l := st.newLine(true)
	if l == nil {
		return Script{Answer: 1, Refuse: 486}
	}
	select {
	case st.arrived <- l:
	default: // nobody directs the calls any more
	}
	s := l.script()
	s.Ring, s.Answer = 40*time.Millisecond, 120*time.Millisecond
	if strings.HasSuffix(m.URI.User, numberRing[len(numberRing)-3:]) {
		s.Answer = -1
	}
	return s
}

// dial places a call through the gate. What the PBX dials may be a user of its own: then it calls where he has registered.
func (st *station) dial(ctx context.Context, number string, h *house, cancel time.Duration) (*line, error) {
	l := st.newLine(false)
	if l == nil {
		return nil, errNoLine
	}
	s := l.script()
	s.SDP, s.Cancel = l.sound.describe(sdp.SendRecv), cancel
	h.calls++
	st.Do(func() {
		switch {
		case st == h.phone.station:
			st.Call(number, h.addresses.OutsidePhones, s)
		case st == h.provider:
			st.Call(number, h.addresses.Outside, s)
		case st.Registrar.Users[number] != "":
			st.ring(number, h.addresses.InsidePhones, s)
		default:
			st.Call(number, h.addresses.Inside, s)
		}
	})
	return l, ctx.Err()
}

// ring calls a user of the PBX at the contact that came last.
func (st *station) ring(user string, gate netip.AddrPort, s Script) {
	list := st.Registrar.Contacts(user, st.now)
	if len(list) == 0 {
		s.Done(Result{Code: 480, Why: "not registered at the PBX"})
		return
	}
	st.Invite(list[0].URI, message.NameAddr{URI: message.URI{Scheme: "sip", User: user, Host: pbxDomain}}, gate, s)
}
