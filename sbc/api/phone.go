package api

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Phone is what is known of an address of record: the answer to "why?" about a phone.
type Phone struct {
	AoR       string         `json:"aor"`             // user@domain
	Recording time.Time      `json:"recording_since"` // what came before is not known
	Bindings  []Registration `json:"bindings"`
	// Register is the last REGISTER that was let in; nil: none.
	Register *Registering `json:"register,omitempty"`
	// Challenged is when the PBX last asked the phone for its password.
	Challenged time.Time `json:"challenged,omitzero"`
	// Wrong counts REGISTERs whose password the PBX did not accept; WrongAt and WrongFrom are of the last one.
	Wrong     int       `json:"wrong_passwords"`
	WrongAt   time.Time `json:"wrong_at,omitzero"`
	WrongFrom string    `json:"wrong_from,omitempty"`
	Calls     []Spoken  `json:"calls,omitempty"` // lately, newest first
	// Guard is what the guard would do now to a request from the phone's address: one line, or several; empty: let it in.
	Guard []string `json:"guard,omitempty"`
	// Banned are the bans of this user alone: "from 198.51.100.7 until …: why", one line each; the others of that address pass.
	Banned []string `json:"banned,omitempty"`
	// Seen are sources outside that spoke for the user and came no further, newest first, "address:port: what became of it"; told
	// where no binding of the phone can be reached.
	Seen []string `json:"seen,omitempty"`
	// Budgets is what rules on calls (policy.calls) say of the phone: what it has used of its budgets, and the last calls that
	// they refused; one line each.
	Budgets []string `json:"budgets,omitempty"`
}

// Registering is one REGISTER and how the PBX answered it.
type Registering struct {
	At        time.Time `json:"at"`
	Source    string    `json:"source"` // "udp 198.51.100.7:40122"
	UserAgent string    `json:"ua,omitempty"`
	Node      string    `json:"node,omitempty"`   // that answered
	Code      int       `json:"code"`             // 0: nobody has answered yet
	Phrase    string    `json:"phrase,omitempty"` // the PBX's
	Reason    string    `json:"reason,omitempty"` // ours, if the answer is ours
	Local     bool      `json:"local,omitempty"`  // a refresh that was answered here
}

// Spoken is one call of a phone.
type Spoken struct {
	ID        string    `json:"id"`
	Direction string    `json:"direction"` // inbound: phone to PBX; outbound
	Other     string    `json:"other"`     // whom it called, or who called it
	Start     time.Time `json:"start"`
	Code      int       `json:"code"` // 0: in progress
	Reason    string    `json:"reason,omitempty"`
	EndedBy   string    `json:"ended_by,omitempty"`
	Duration  float64   `json:"duration"`         // seconds of talk
	Silent    string    `json:"silent,omitempty"` // on which side nothing was heard
}

// maxSpoken bounds the calls that are told.
const maxSpoken = 10

// fixALG is what to do about a SIP ALG.
const fixALG = "something on the way edits the phone's SIP: turn \"SIP ALG\" (also \"SIP helper\", \"SIP fixup\") off in the " +
	"router before the phone, or let the phone register over TLS, into which no router sees"

// Reachable reports whether a call to the phone would find it: it is registered and a flow of it stands.
func (p *Phone) Reachable() bool {
	for i := range p.Bindings {
		if !p.Bindings[i].Lost {
			return true
		}
	}
	return false
}

// Why is the whole answer about a subject that names the phone.
func (p *Phone) Why(subject string, now time.Time, zone *time.Location) (Why, error) {
	told := *p
	told.Bindings = make([]Registration, 0, len(p.Bindings))
	for i := range p.Bindings[:min(len(p.Bindings), maxOfOneAoR)] {
		told.Bindings = append(told.Bindings, p.Bindings[i].bounded())
	}
	told.Calls, told.Guard = p.Calls[:min(len(p.Calls), maxSpoken)], firsts(p.Guard, maxClauses)
	told.Seen, told.Banned = firsts(p.Seen, maxClauses), firsts(p.Banned, maxClauses)
	told.Budgets = firsts(p.Budgets, maxClauses)
	detail, err := json.Marshal(&told)
	if err != nil {
		return Why{}, err
	}
	return Why{Subject: subject, Allowed: told.Reachable() && len(told.Guard) == 0, Text: told.Text(now, zone), Detail: detail}, nil
}

// Text is the answer as `sbc why` prints it: one labelled line for each thing that there is to say.
func (p *Phone) Text(now time.Time, zone *time.Location) string {
	rows := [][]string{{printable(p.AoR), p.headline()}}
	say := func(label, format string, args ...any) {
		rows = append(rows, []string{label, fmt.Sprintf(format, args...)})
	}
	for i := range p.Bindings {
		b := &p.Bindings[i]
		say("through", "%s at %s, %s, as %s", b.flow(), cmp.Or(b.Interface, "-"), b.ending(now), b.Token)
		say("nat", "%s; keepalive %s", cmp.Or(b.NAT, "not known"), b.keepalive(now))
		rows = append(rows, labelled("alg", b.ALG)...)
	}
	say("last", "%s", p.lastRegister(zone))
	if p.Register != nil && p.Register.Local && len(p.Bindings) > 0 {
		b := &p.Bindings[0]
		say("pbx", "%s accepted it %s, and is asked again in time (phones.registration.reauthenticate)", cmp.Or(b.Node, "the PBX"), ago(b.Accepted, now))
	}
	if !p.Challenged.IsZero() {
		say("password", "asked for by the PBX at %s", clock(p.Challenged, zone))
	}
	if p.Wrong > 0 {
		say("wrong", "%d %s the PBX did not accept the password, last at %s from %s", p.Wrong, plural(p.Wrong, "time"),
			clock(p.WrongAt, zone), cmp.Or(p.WrongFrom, "-"))
	}
	for i := range p.Calls {
		label := "call"
		if i > 0 {
			label = ""
		}
		say(label, "%s", p.Calls[i].text(zone))
	}
	rows = append(rows, labelled("budget", p.Budgets)...)
	rows = append(rows, labelled("guard", p.Guard)...)
	rows = append(rows, labelled("banned", p.Banned)...)
	rows = append(rows, labelled("seen", p.Seen)...)
	for _, fix := range p.fixes() {
		say("fix", "%s", fix)
	}
	return table(rows)
}

func (p *Phone) headline() string {
	switch {
	case len(p.Bindings) == 0:
		return "NOT REGISTERED: calls to it find nobody"
	case !p.Reachable():
		return "CONNECTION LOST: calls to it get 480 until it registers again"
	case len(p.Guard) > 0:
		return "REGISTERED, but the guard refuses its requests"
	}
	return fmt.Sprintf("registered, %d %s", len(p.Bindings), plural(len(p.Bindings), "binding"))
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

func (p *Phone) lastRegister(zone *time.Location) string {
	r := p.Register
	if r == nil {
		return "no REGISTER of it was let in since " + clock(p.Recording, zone)
	}
	text := fmt.Sprintf("%s REGISTER from %s", clock(r.At, zone), r.Source)
	if r.UserAgent != "" {
		text += fmt.Sprintf(" %q", printable(clipped(r.UserAgent, maxClause)))
	}
	if r.Code == 0 {
		return text + ": no answer yet"
	}
	text += fmt.Sprintf(": %d %s", r.Code, printable(clipped(r.Phrase, maxClause)))
	switch {
	case r.Local:
		text += ", answered here"
	case r.Reason != "":
		text += " (" + r.Reason + ")"
	case r.Node != "":
		text += " by " + r.Node
	}
	return strings.TrimRight(text, " ")
}

func (c *Spoken) text(zone *time.Location) string {
	way := "to"
	if c.Direction == "outbound" {
		way = "from"
	}
	text := fmt.Sprintf("%s %s %s %s", clock(c.Start, zone), c.ID, way, printable(clipped(c.Other, maxClause)))
	if c.Code == 0 {
		return text + ": in progress"
	}
	text += fmt.Sprintf(": %d", c.Code)
	if c.Reason != "" {
		text += " " + c.Reason
	}
	if c.EndedBy != "" {
		text += " by " + c.EndedBy
	}
	if c.Duration > 0 {
		text += fmt.Sprintf(", talked %.0f s", c.Duration)
	}
	if c.Silent != "" {
		text += ", " + c.Silent + ": sbc why " + c.ID
	}
	return text
}

// fixes say what to do next, most pressing first.
func (p *Phone) fixes() []string {
	var out []string
	refused := ""
	if len(p.Guard) > 0 {
		refused, _, _ = strings.Cut(p.Guard[0], ": ")
		out = append(out, "sbc why "+printable(refused)+" names the rule, and what would let it in")
	}
	switch {
	case len(p.Banned) > 0:
		out = append(out, p.fixRegister(), p.fixBanned())
	case p.Reachable():
		if r := p.Register; r != nil && r.Reason == "no-pbx" {
			out = append(out, "its last REGISTER found no PBX node that answers: see sbc pbx")
		}
	case len(p.Seen) > 0:
		at, _, _ := strings.Cut(p.Seen[0], ": ")
		if a, err := netip.ParseAddrPort(at); err == nil {
			at = a.Addr().String()
		}
		if at != refused {
			out = append(out, "sbc why "+printable(at)+" says what becomes of its requests, and what would let it in")
		}
		if p.Register == nil {
			break
		}
		fallthrough
	default:
		out = append(out, p.fixRegister())
	}
	for i := range p.Bindings {
		if len(p.Bindings[i].ALG) > 0 {
			return append(out, fixALG)
		}
	}
	return out
}

// fixBanned says how a ban of the user is lifted, and what comes first.
func (p *Phone) fixBanned() string {
	user, _, _ := strings.Cut(p.AoR, "@")
	if strings.Trim(user, plainUser) != "" || strings.HasPrefix(user, "-") {
		return "then lift the ban: sbc bans has it"
	}
	return "then sbc bans remove " + user + ": with a wrong password it is banned anew"
}

// plainUser is what a user may be made of that stands in a command for a shell.
const plainUser = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._+-"

// fixRegister says what keeps a phone from registering, by the last answer.
func (p *Phone) fixRegister() string {
	r := p.Register
	switch {
	case len(p.Bindings) > 0:
		return "the phone must connect and register again: is it switched on and online?"
	case r == nil:
		return "does the phone use our outside phones address as its server or outbound proxy? sbc why with its public address says what " +
			"becomes of its requests"
	case (r.Code == 401 || r.Code == 407) && p.Wrong > 0 && p.WrongAt.Equal(r.At):
		return "the PBX did not accept the password: check user, authentication name and password in the phone"
	case r.Code == 401 || r.Code == 407:
		return "the phone does not answer the PBX's challenge, or not as the PBX wants it: check user, authentication name and password in the phone"
	case r.Code == 403:
		return "the PBX refuses it: check user and password in the phone, and that the PBX lets this user register"
	case r.Code == 404:
		return "the PBX does not know this user: create it there, or correct user and domain in the phone"
	case r.Code == 423:
		return "the phone asks for a shorter registration than the PBX permits: raise the phone's registration time"
	case r.Code == 408 || r.Code >= 500 && r.Code < 600:
		return "no PBX node answers as it should: see sbc pbx"
	case r.Code == 0:
		return "the PBX has not answered yet: see sbc pbx if it stays so"
	}
	return "its last registration has expired or was given up: the phone must register again (is it switched on and online?)"
}
