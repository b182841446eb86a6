package call

import (
	"strings"
	"time"

	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// lives gives a peer of a script its settings: timer=DURATION, max=DURATION, codecs=NAME,NAME, hold=local, early=183, lacks=WORD,WORD.
func lives(p *tu.Peer, w words) {
	if d, err := time.ParseDuration(w["timer"]); err == nil {
		p.SessionTimer = d
	}
	if d, err := time.ParseDuration(w["max"]); err == nil {
		p.MaxCall = d
	}
	if w["codecs"] != "" {
		p.Codecs = strings.Split(w["codecs"], ",")
	}
	p.Manners.KeepsFlowing = p.Manners.KeepsFlowing || w["hold"] == "local"
	p.Manners.RingsBare = p.Manners.RingsBare || w["early"] == "183"
	p.Manners.Lacks |= tu.LacksOf(strings.Split(w["lacks"], ","))
	trusts(p, w)
}

// lasts chooses what a peer has of session timers, lengths and codecs.
func (g *game) lasts(p *tu.Peer) {
	n := g.pick(24)
	p.SessionTimer = []time.Duration{0, 0, 90 * time.Second, 30 * time.Minute}[n%4]
	p.MaxCall = []time.Duration{0, 0, 10 * time.Minute}[n/4%3]
	if m := g.pick(32); m > 12 {
		p.Manners = tu.Manners{KeepsFlowing: m > 20, RingsBare: m%3 == 0, Lacks: tu.Lacks(m % 16)}
	}
	if n >= 12 {
		p.Codecs = [][]string{{"PCMU"}, {"opus", "PCMA", "PCMU"}, {"G722"}, {"pcmu", "VP8"}}[n%4]
	}
}

// timed lets a peer say something of session timers, in what it asks or answers.
func (g *game) timed(m *message.Message) {
	if m.Method != "INVITE" && m.Method != "UPDATE" {
		return
	}
	switch n := g.pick(12); {
	case n < 4:
		return
	case n < 9:
		m.Add("Supported", "timer")
	}
	m.Add("Session-Expires", []string{"90", "60", "120;refresher=uas", "1800;refresher=uac", "90;refresher=uac", "x", "4294967296"}[g.pick(7)])
	if g.pick(4) == 0 {
		m.Add("Min-SE", []string{"90", "300", "99999999", "-1"}[g.pick(4)])
	}
	if g.pick(3) == 0 {
		m.Set("Allow", "INVITE, ACK, BYE, UPDATE")
	}
}
