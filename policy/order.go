package policy

import "fmt"

// Step is one check of the fixed order.
type Step struct {
	Number int    `json:"number"`
	Name   string `json:"name"`
	Text   string `json:"text"`
}

// Order is the order of checks. The first one that decides is the reason. Decide walks through steps 1 to 9; what
// stands behind the parser is done by the rooms behind it.
var Order = [...]Step{
	{1, "live dialog", "a live dialog or transaction of that leg's source, a repeat of what was admitted: allow"},
	{2, "white list", "exempts from the checks that it names; gives no identity"},
	{3, "manual bans, black list", "bind everyone else, trunks and nodes too"},
	{4, "automatic bans", "made from proven evidence; trunks and nodes: alarm only; where phones are registered: the port or user; unproven: the port, 60 s"},
	{5, "countries", "not for trunks and nodes"},
	{6, "size and sanity", "what the raw scan refuses: known peers 4xx, strangers silence"},
	{7, "user agents, message rules", "trunks and nodes: only rules that name them"},
	{8, "rate limits", "the narrowest range and all that stack; trunks and nodes: only rules that name them; phones are limited"},
	{9, "strangers' budget", "strangers only: what is answered or goes on, all of them together"},
	{10, "parse, validation", "what the parser refuses: known peers 4xx, strangers silence"},
	{11, "registration, trunk, destination", "strangers: silence, an answer or a way on, by realm"},
	{12, "capacity", "calls, ports, trunks, nodes"},
}

// OrderText is the order as `sbc policy order` prints it.
func OrderText() (text string) {
	for _, s := range Order {
		text += fmt.Sprintf("%2d  %-35s %s\n", s.Number, s.Name, s.Text)
	}
	return text
}
