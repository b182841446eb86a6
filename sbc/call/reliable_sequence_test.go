package call

import (
	"strconv"

	"sallyport/sbc/message"
)

// adorn lets a peer say what it can do, or wants: mostly nothing.
func (g *game) adorn(m *message.Message) {
	g.timed(m)
	if m.Method == "INVITE" && m.IsRequest() && m.To.Tag == "" {
		switch g.pick(4) {
		case 0:
			m.Add("Require", "100rel")
		case 1, 2:
			m.Add("Supported", "100rel, 199")
		}
	}
	switch g.pick(16) {
	case 0:
		m.Add("Allow", "INVITE, ACK, BYE, CANCEL, PRACK")
	case 1:
		m.Add("Supported", "precondition")
	case 2:
		if m.IsRequest() && m.Method != "INVITE" {
			m.Add("Require", "precondition")
		}
	}
}

// reliably makes a provisional response a reliable one, sometimes: mostly the next one of its dialog, now and then one that
// was there, or one too far.
func (g *game) reliably(m *message.Message) {
	if g.pick(3) == 0 {
		return
	}
	if g.rseqs == nil {
		g.rseqs = map[string]uint32{}
	}
	n := g.rseqs[m.To.Tag]
	switch k := g.pick(8); {
	case k == 0 && n > 0:
	case k == 1:
		n += 2
	default:
		n++
		g.rseqs[m.To.Tag] = n
	}
	m.Add("Require", "100rel")
	m.Add("RSeq", strconv.Itoa(int(n)))
}
