package policy

import "time"

// Config is what the administrator writes under `policy`. A nil *int or slice is an absent key, an empty slice is an
// empty list; New and Compile read both as CONFIG says. Ranges are lists: a scalar in the file is a list of one.
type Config struct {
	Strangers      StrangersConfig   `yaml:"strangers"`
	WhiteList      []WhiteEntry      `yaml:"white_list"`
	BlackList      []BlackEntry      `yaml:"black_list"`
	DenyUserAgents []UserAgentConfig `yaml:"deny_user_agents"` // nil: the shipped list; empty: none
	RateLimits     []RateLimitConfig `yaml:"rate_limits"`
	Log            LogConfig         `yaml:"log"`

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

// UserAgentConfig refuses what calls itself by a name: the User-Agent of requests, the Server of responses.
type UserAgentConfig struct {
	Match   string `yaml:"match"`
	Mode    string `yaml:"mode"`   // exact | product | prefix | contains | regex; empty: contains
	Action  string `yaml:"action"` // drop | reject; empty: drop
	Shadow  bool   `yaml:"shadow"`
	Comment string `yaml:"comment"`
}

// RateLimitConfig is one range with its limits for each source address in it.
type RateLimitConfig struct {
	Name    string            `yaml:"name"`
	Range   []string          `yaml:"range"`  // empty: any
	Realms  []string          `yaml:"realms"` // empty: all
	Limits  map[string]string `yaml:"limits"` // method or * → rate
	Burst   *int              `yaml:"burst"`  // nil: Rate.DefaultBurst
	Stack   bool              `yaml:"stack"`
	Action  string            `yaml:"action"` // drop | reject; empty: drop
	Shadow  bool              `yaml:"shadow"`
	Comment string            `yaml:"comment"`
}

// LogConfig bounds the security log.
type LogConfig struct {
	MaxEntries *int     `yaml:"max_entries"` // nil: 6000; 0: none
	Per        string   `yaml:"per"`         // second | minute | hour | day; empty: hour
	Classes    []string `yaml:"classes"`     // nil: dropped, limited, banned, malformed
}

// The defaults of CONFIG §1.
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
