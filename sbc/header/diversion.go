package header

import (
	"strings"

	"sallyport/sbc/message"
)

// diversionsMost bounds the entries that are converted; a call that was diverted more often goes in circles.
const diversionsMost = 20

// dropDiversion takes out by whom a call was diverted.
func dropDiversion(m *message.Message) {
	m.Remove("Diversion")
	m.Remove("History-Info")
}

// causes are the reasons of a diversion as RFC 4458 §4 numbers them, in the mapping of RFC 7544 §5.1 and §6.1.
var causes = map[string]string{
	"unconditional": "302", "user-busy": "486", "no-answer": "408", "deflection": "480", "unavailable": "503",
}

// causeOf is the cause of a Diversion's reason; one that has no number of its own is unknown.
func causeOf(reason string) string {
	if c, ok := causes[strings.ToLower(strings.Trim(reason, `"`))]; ok {
		return c
	}
	return "404"
}

// reasonFor is the reverse: 487 is a deflection, too, while the phone rang.
func reasonFor(cause string) string {
	if cause == "487" {
		return "deflection"
	}
	for reason, c := range causes {
		if c == cause {
			return reason
		}
	}
	return "unknown"
}

// histories makes History-Info of the Diversion fields of a request (RFC 7544 §5): who was asked for first stands first, and who
// is asked for now, last.
func (f *finish) histories() {
	m := f.out
	list, err := m.NameAddrs("Diversion")
	if !f.fresh || err != nil || len(list) == 0 {
		return
	}
	list = list[:min(len(list), diversionsMost)]
	var out []byte
	index, cause := "1", ""
	entry := func(n message.NameAddr, private string) {
		n.Tag, n.Params = "", ";index="+index
		if cause != "" {
			before := index[:strings.LastIndexByte(index, '.')]
			n.Params += ";mp=" + before
			n.URI.Params += ";cause=" + cause
		}
		n.URI.Headers = private
		if len(out) > 0 {
			out = append(out, ", "...)
		}
		out = n.Append(out)
		index += ".1"
	}
	for i := len(list) - 1; i >= 0; i-- { // the topmost Diversion is the last one (RFC 5806 §5.1)
		n := list[i]
		reason, _ := n.Param("reason")
		private := ""
		if hiddenEntry(&n) {
			private = "?Privacy=history"
		}
		n.URI.Params = keepParams(n.URI.Params, func(name string) bool { return name != "cause" })
		entry(message.NameAddr{Display: n.Display, URI: n.URI}, private)
		cause = causeOf(reason)
	}
	target := m.URI
	target.Headers = ""
	target.Params = keepParams(target.Params, func(name string) bool { return name == "user" })
	entry(message.NameAddr{URI: target}, "")
	m.Add("History-Info", string(out))
}

// diversions makes Diversion of the History-Info of a request (RFC 7544 §6): an entry is a diversion where the next one has a
// cause.
func (f *finish) diversions() {
	m := f.out
	list, err := m.NameAddrs("History-Info")
	if !f.fresh || err != nil {
		return
	}
	var out []message.NameAddr
	for i := len(list) - 2; i >= 0 && len(out) < diversionsMost; i-- { // the last one diverted is the topmost
		cause, diverted := uriParam(list[i+1].URI.Params, "cause")
		if !diverted {
			continue
		}
		n := message.NameAddr{Display: list[i].Display, URI: list[i].URI}
		privacy := "off"
		if hiddenEntry(&list[i]) {
			privacy = "full"
		}
		n.URI.Headers = ""
		n.URI.Params = keepParams(n.URI.Params, func(name string) bool { return name != "cause" })
		n.Params = ";reason=" + reasonFor(cause) + ";counter=1;privacy=" + privacy
		out = append(out, n)
	}
	if len(out) > 0 {
		m.Add("Diversion", joined(out))
	}
}

// uriParam finds a parameter of a raw list.
func uriParam(list, name string) (value string, ok bool) {
	for p := range strings.SplitSeq(strings.TrimPrefix(list, ";"), ";") {
		if n, v, _ := strings.Cut(p, "="); strings.EqualFold(n, name) {
			return v, true
		}
	}
	return "", false
}
