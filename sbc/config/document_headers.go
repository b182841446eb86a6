package config

// HeadersSection are rules on header fields, in their order, after all else has been written.
type HeadersSection struct {
	Inbound  []HeaderEntry `yaml:"inbound" reload:"new calls"`  // of what the peer sends, as it leaves on the other side
	Outbound []HeaderEntry `yaml:"outbound" reload:"new calls"` // of what is sent to the peer
}

// HeaderEntry changes one header field. Conditions that are given must all hold.
type HeaderEntry struct {
	Header string  `yaml:"header" reload:"new calls"`
	Action string  `yaml:"action" oneof:"set|add|remove|replace" reload:"new calls"`
	Method string  `yaml:"method,omitempty" reload:"new calls"` // of the request, or of the one that is answered; absent: any
	Match  Pattern `yaml:"match,omitempty" reload:"new calls"`  // the present value; absent: any, and none
	Value  string  `yaml:"value,omitempty" reload:"new calls"`  // with match, $1 is its first group
}

// NumbersSection are rules on numbers: inbound from the provider, outbound to it.
type NumbersSection struct {
	Inbound  []NumberEntry `yaml:"inbound" reload:"new calls"`
	Outbound []NumberEntry `yaml:"outbound" reload:"new calls"`
	// Format is how numbers are written that go to the provider, UserPhone that they are said to be numbers (RFC 3261 §19.1.1).
	Format    string `yaml:"format" oneof:"dialled|e164|plus|national|international" reload:"new calls"`
	UserPhone bool   `yaml:"user_phone" reload:"new calls"`
}

// NumberEntry rewrites a number; of several for the same party the first that matches counts.
type NumberEntry struct {
	Of      string  `yaml:"of" oneof:"called|calling" reload:"new calls"`
	Match   Pattern `yaml:"match" reload:"new calls"`
	Replace string  `yaml:"replace" reload:"new calls"` // $1 is the first group of match
}

// IdentitySection is how a provider is told, and tells, who calls. Words, or a fixed name: sip:+4930123@example.com, or with a
// display name.
type IdentitySection struct {
	From      string `yaml:"from" reload:"new calls"`                                                 // pass, remove, or a name
	Asserted  string `yaml:"asserted" reload:"new calls"`                                             // pass, remove, a form, or a name
	Privacy   string `yaml:"privacy" oneof:"pass|remove" reload:"new calls"`                          // remove: what it asks for is done here
	STIR      string `yaml:"stir" oneof:"pass|remove" reload:"new calls"`                             // Identity (RFC 8224)
	Diversion string `yaml:"diversion" oneof:"pass|remove|diversion|history-info" reload:"new calls"` // the form of the provider
}

// CodesSection puts final answers under other codes: inbound those of the peer, outbound those that it gets.
type CodesSection struct {
	Inbound  []CodeEntry `yaml:"inbound" reload:"new calls"`
	Outbound []CodeEntry `yaml:"outbound" reload:"new calls"`
}

// CodeEntry puts one code in the place of another.
type CodeEntry struct {
	From int `yaml:"from" bounds:"300..699" reload:"new calls"`
	To   int `yaml:"to" bounds:"400..699" reload:"new calls"`
}

// passIdentity is the default: nothing is changed.
func passIdentity() IdentitySection {
	return IdentitySection{From: "pass", Asserted: "pass", Privacy: "pass", STIR: "pass", Diversion: "pass"}
}
