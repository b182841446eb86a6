package config

// PolicySection says who is let in, and how fast.
type PolicySection struct {
	Strangers      StrangersSection `yaml:"strangers"`
	WhiteList      []WhiteEntry     `yaml:"white_list" reload:"live" key:"range"`
	BlackList      []BlackEntry     `yaml:"black_list" reload:"live" key:"range"`
	Feeds          []FeedEntry      `yaml:"feeds" reload:"live" key:"name"`
	Countries      CountriesSection `yaml:"countries"`
	MessageRules   []MessageEntry   `yaml:"message_rules" reload:"live" key:"name"`
	DenyUserAgents []AgentEntry     `yaml:"deny_user_agents" reload:"live"`       // absent: the shipped list
	RateLimits     []RateEntry      `yaml:"rate_limits" reload:"live" key:"name"` // absent: the shipped rule
	Bans           BansSection      `yaml:"bans"`
	Calls          []CallEntry      `yaml:"calls" reload:"live" key:"name"`
	Log            EventLogSection  `yaml:"log"`
	ReloadGuard    int              `yaml:"reload_guard" bounds:"0..100" reload:"live"` // percent of phones that a reload may shut out
	Recorder       Size             `yaml:"recorder" reload:"restart"`                  // memory for what came in last; 0: none
	Capture        CaptureSection   `yaml:"capture"`
}

// StrangersSection is how sources outside are met that are no trunk, no node and no registered phone.
type StrangersSection struct {
	Phones string `yaml:"phones" oneof:"silent|answer" reload:"live"`
	Trunks string `yaml:"trunks" oneof:"silent|answer" reload:"live"`
	Rate   Rate   `yaml:"rate" reload:"live"` // budget of all strangers together
	Burst  int    `yaml:"burst" bounds:"1..1000000" reload:"live"`
}

// WhiteEntry exempts ranges from checks; it gives no identity. A plain range stands for an entry with that range alone.
type WhiteEntry struct {
	Range   Scopes   `yaml:"range" reload:"live"`
	Realms  []string `yaml:"realms" oneof:"phones|trunks" reload:"live"`
	Exempt  []string `yaml:"exempt" oneof:"limits|bans|user_agents|countries" reload:"live"`
	Comment string   `yaml:"comment,omitempty" reload:"live"`
}

// BlackEntry drops everything from ranges. A plain range stands for an entry with that range alone.
type BlackEntry struct {
	Range   Scopes    `yaml:"range" reload:"live"`
	Realms  []string  `yaml:"realms" oneof:"phones|trunks" reload:"live"`
	Until   Timestamp `yaml:"until,omitempty" reload:"live"` // absent: for ever
	Comment string    `yaml:"comment,omitempty" reload:"live"`
}

func (e *WhiteEntry) fromScalar(text []byte) error { return oneScope(&e.Range, text) }
func (e *BlackEntry) fromScalar(text []byte) error { return oneScope(&e.Range, text) }

func oneScope(into *Scopes, text []byte) error {
	var s Scope
	if err := s.UnmarshalText(text); err != nil {
		return err
	}
	*into = Scopes{s}
	return nil
}

// FeedEntry is a list of addresses that others keep. It refuses strangers, never who is known.
type FeedEntry struct {
	Name       string   `yaml:"name" reload:"live"`
	URL        string   `yaml:"url,omitempty" reload:"live"`  // either this
	File       string   `yaml:"file,omitempty" reload:"live"` // or this
	Every      Duration `yaml:"every" reload:"live"`
	Realms     []string `yaml:"realms" oneof:"phones|trunks" reload:"live"`
	MaxEntries int      `yaml:"max_entries" bounds:"1..500000" reload:"live"` // a longer list is not taken
	Shadow     bool     `yaml:"shadow" reload:"live"`                         // counts what it would do, does nothing
	Comment    string   `yaml:"comment,omitempty" reload:"live"`
}

// CountriesSection refuses sources by their country; trunks, nodes and private addresses have none.
type CountriesSection struct {
	Database string    `yaml:"database" reload:"live"` // .mmdb, text or CSV, or our compact file; "": none
	Mode     string    `yaml:"mode" oneof:"deny|allow" reload:"live"`
	List     Countries `yaml:"list" reload:"live"`
	Realms   []string  `yaml:"realms" oneof:"phones|trunks" reload:"live"`
	Unknown  string    `yaml:"unknown" oneof:"allow|deny" reload:"live"` // addresses that the database does not know
	Shadow   bool      `yaml:"shadow" reload:"live"`                     // counts what it would do, does nothing
}

// AgentEntry is one rule on User-Agent; case is folded and outer white space cut.
type AgentEntry struct {
	Match   string `yaml:"match" reload:"live"`
	Mode    string `yaml:"mode" oneof:"exact|product|prefix|contains|regex" reload:"live"`
	Action  string `yaml:"action" oneof:"drop|reject|ban|alarm" reload:"live"`
	Shadow  bool   `yaml:"shadow" reload:"live"` // counts what it would do, does nothing
	Comment string `yaml:"comment,omitempty" reload:"live"`
}

// RateEntry is one rate limit: for each source address (IPv6 /64) of its ranges a bucket a method.
type RateEntry struct {
	Name     string          `yaml:"name" reload:"live"`
	Range    Scopes          `yaml:"range" reload:"live"`
	Realms   []string        `yaml:"realms" oneof:"phones|trunks" reload:"live"`
	Preset   string          `yaml:"preset,omitempty" reload:"live"`                    // in place of limits and burst
	Limits   map[string]Rate `yaml:"limits,omitempty" reload:"live"`                    // by method; * is every method not listed
	Burst    int             `yaml:"burst,omitempty" bounds:"1..1000000" reload:"live"` // absent: max(4, a tenth of the per-minute figure)
	PerPhone bool            `yaml:"per_phone" reload:"live"`                           // rate and burst × phones registered behind the address
	Stack    bool            `yaml:"stack" reload:"live"`                               // applies in addition to the narrowest
	Action   string          `yaml:"action" oneof:"drop|reject|ban|alarm" reload:"live"`
	Shadow   bool            `yaml:"shadow" reload:"live"` // counts what it would do, does nothing
	Comment  string          `yaml:"comment,omitempty" reload:"live"`
}

// BansSection turns evidence into bans.
type BansSection struct {
	Points int      `yaml:"points" bounds:"0..100000" reload:"live"` // that ban a source; 0: nobody is banned for what it did
	Within Duration `yaml:"within" reload:"live"`
	First  Duration `yaml:"first" reload:"live"`                  // the first ban
	Factor int      `yaml:"factor" bounds:"1..100" reload:"live"` // each further one is so much longer
	Most   Duration `yaml:"most" reload:"live"`                   // the longest, and what it takes to be forgiven one
	Shadow bool     `yaml:"shadow" reload:"live"`                 // counts and tells, bans nobody
	Kernel bool     `yaml:"kernel" reload:"restart"`              // the kernel drops what is banned, too (nftables)
}

// EventLogSection bounds the security lines of the log.
type EventLogSection struct {
	MaxEntries int      `yaml:"max_entries" bounds:"0..10000000" reload:"live"` // lines per Per; the rest is summed up
	Per        string   `yaml:"per" oneof:"second|minute|hour|day" reload:"live"`
	Classes    []string `yaml:"classes" oneof:"dropped|limited|banned|malformed|accepted" reload:"live"`
}
