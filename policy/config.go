package policy

import "time"

// Config is what the administrator writes under `policy`. A nil *int or slice is an absent key, an empty slice is an
// empty list; New and Compile read both as the documentation says. Ranges are lists: a scalar in the file is a list of one.
type Config struct {
	Strangers      StrangersConfig     `yaml:"strangers"`
	WhiteList      []WhiteEntry        `yaml:"white_list"`
	BlackList      []BlackEntry        `yaml:"black_list"`
	Feeds          []FeedConfig        `yaml:"feeds"`
	Countries      CountriesConfig     `yaml:"countries"`
	MessageRules   []MessageRuleConfig `yaml:"message_rules"`
	DenyUserAgents []UserAgentConfig   `yaml:"deny_user_agents"` // nil: the shipped list; empty: none
	RateLimits     []RateLimitConfig   `yaml:"rate_limits"`      // nil: the shipped rule; empty: none
	Bans           BansConfig          `yaml:"bans"`
	Log            LogConfig           `yaml:"log"`

	// Emergency are the numbers whose calls no limit and no country stops, where they come from a known peer; no key of
	// `policy`.
	Emergency []string `yaml:"-"`
	// Phones is what the phones' rooms tell the guard about themselves; it is no key of `policy`.
	Phones PhonesConfig `yaml:"-"`
}

// StrangersConfig is how sources outside that nobody vouches for are met.
type StrangersConfig struct {
	Phones string `yaml:"phones"` // silent | answer; empty: silent
	Trunks string `yaml:"trunks"` // silent | answer; empty: silent
	Rate   string `yaml:"rate"`   // budget of all strangers together: what is answered or forwarded; empty: 50/second
	Burst  *int   `yaml:"burst"`  // nil: 100
}

// PhonesConfig says what a stranger may ask for at outside.phones.
type PhonesConfig struct {
	Registrar    bool   // REGISTER is served: strangers' REGISTERs go on, within the strangers' budget
	Unregistered string // drop | reject | forward; empty: drop
}

// WhiteEntry exempts a range from checks. It gives no identity.
type WhiteEntry struct {
	Range   []string `yaml:"range"`
	Realms  []string `yaml:"realms"` // empty: all
	Exempt  []string `yaml:"exempt"` // limits, bans, user_agents, countries; empty: all of them
	Comment string   `yaml:"comment"`
}

// BlackEntry refuses a range.
type BlackEntry struct {
	Range   []string  `yaml:"range"`
	Realms  []string  `yaml:"realms"`
	Until   time.Time `yaml:"until"` // zero: for good
	Comment string    `yaml:"comment"`
}

// FeedConfig refuses the addresses of a list that others keep: strangers only, never a known peer. Its entries are in
// Data.Feeds under its name.
type FeedConfig struct {
	Name    string   `yaml:"name"`
	Realms  []string `yaml:"realms"` // empty: all
	Shadow  bool     `yaml:"shadow"`
	Comment string   `yaml:"comment"`
}

// CountriesConfig refuses sources by the country that Data.Countries gives for them. Trunks, nodes and private addresses
// are never judged.
type CountriesConfig struct {
	Mode    string   `yaml:"mode"`    // deny: those of the list; allow: all others; empty: deny
	List    []string `yaml:"list"`    // ISO 3166-1 alpha-2
	Realms  []string `yaml:"realms"`  // empty: all
	Unknown string   `yaml:"unknown"` // allow | deny what the database does not know; empty: allow
	Shadow  bool     `yaml:"shadow"`
}

// PatternConfig is a comparison with one part of a message, case-folded, outer white space cut.
type PatternConfig struct {
	Match string `yaml:"match"`
	Mode  string `yaml:"mode"` // exact | product | prefix | contains | regex | absent (no such field, or an empty one); empty: contains
}

// MessageRuleConfig judges requests by what they say. All conditions that are given must hold; of a list of patterns one.
// The first rule that holds decides; allow lets the message past the other rules and deny_user_agents.
type MessageRuleConfig struct {
	Name       string          `yaml:"name"`
	Range      []string        `yaml:"range"`  // empty: any; a range other than any names trunks and nodes, too
	Realms     []string        `yaml:"realms"` // empty: all
	Transports []string        `yaml:"transports"`
	Methods    []string        `yaml:"methods"` // empty: all requests
	UserAgent  []PatternConfig `yaml:"user_agent"`
	From       []PatternConfig `yaml:"from"` // the raw field: display name and URI
	To         []PatternConfig `yaml:"to"`
	RequestURI []PatternConfig `yaml:"request_uri"`
	CallID     []PatternConfig `yaml:"call_id"`
	Action     string          `yaml:"action"` // allow | drop | reject | ban | alarm; empty: drop
	Shadow     bool            `yaml:"shadow"`
	Comment    string          `yaml:"comment"`
}

// BansConfig turns evidence into bans.
type BansConfig struct {
	Points *int          `yaml:"points"` // that ban a source; nil: 20; 0: no bans from evidence
	Within time.Duration `yaml:"within"` // 0: 60 s
	First  time.Duration `yaml:"first"`  // the first ban; 0: 10 min
	Factor *int          `yaml:"factor"` // each further one is so much longer; nil: 6
	Most   time.Duration `yaml:"most"`   // the longest, and what it takes to be forgiven one; 0: 24 h
	Shadow bool          `yaml:"shadow"` // count and tell, ban nobody
}

// UserAgentConfig refuses what calls itself by a name: the User-Agent of requests, the Server of responses.
type UserAgentConfig struct {
	Match   string `yaml:"match"`
	Mode    string `yaml:"mode"`   // exact | product | prefix | contains | regex; empty: contains
	Action  string `yaml:"action"` // drop | reject | ban | alarm; empty: drop
	Shadow  bool   `yaml:"shadow"`
	Comment string `yaml:"comment"`
}

// RateLimitConfig is one range with its limits for each source address in it.
type RateLimitConfig struct {
	Name     string            `yaml:"name"`
	Range    []string          `yaml:"range"`     // empty: any
	Realms   []string          `yaml:"realms"`    // empty: all
	Preset   string            `yaml:"preset"`    // single-phone | home | office:N | trunk, in place of limits and burst
	Limits   map[string]string `yaml:"limits"`    // method, * or unparseable → rate
	Burst    *int              `yaml:"burst"`     // nil: Rate.DefaultBurst
	PerPhone bool              `yaml:"per_phone"` // rate and burst × phones registered behind the address, now or lately
	Stack    bool              `yaml:"stack"`
	Action   string            `yaml:"action"` // drop | reject | ban | alarm; empty: drop
	Shadow   bool              `yaml:"shadow"`
	Comment  string            `yaml:"comment"`
}

// LogConfig bounds the security log.
type LogConfig struct {
	MaxEntries *int     `yaml:"max_entries"` // nil: 6000; 0: none
	Per        string   `yaml:"per"`         // second | minute | hour | day; empty: hour
	Classes    []string `yaml:"classes"`     // nil: dropped, limited, banned, malformed
}

// The defaults.
const (
	defaultStrangersRate  = "50/second"
	defaultStrangersBurst = 100
	defaultMaxEntries     = 6000
)

// shippedProducts are the names of the twelve strings that administrators of sipXcom are told to deny; some belong to
// genuine phones and are copied by scanners, so they match as a product name and never inside another word.
var shippedProducts = []string{
	"VaxSIPUserAgent/3.1", "VaxSIPUserAgent", "sipcli/v1.8", "CiscoSystemsSIP-IPPhone", "Cisco/SPA504G-7.4.9c", "one-X",
	"pplsip", "eyeBeam", "friendly-scanner", "eyeBeam release 3006o stamp", "sipcli", "UsaAirport",
}

// shippedScanners are names of scanning tools that no phone carries anywhere in its name.
var shippedScanners = []string{
	"friendly-scanner", "sipvicious", "sundayddr", "iWar", "sip-scan", "sipsak", "friendly-request", "siparmyknife",
	"nmap", "sipptk", "gulp",
}

// ShippedUserAgents is the list in force where deny_user_agents is absent.
func ShippedUserAgents() []UserAgentConfig {
	var list []UserAgentConfig
	for _, name := range shippedProducts {
		list = append(list, UserAgentConfig{Match: name, Mode: "product"})
	}
	for _, name := range shippedScanners {
		list = append(list, UserAgentConfig{Match: name, Mode: "contains"})
	}
	return list
}
