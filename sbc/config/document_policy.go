package config

// PolicySection says who is let in, and how fast.
type PolicySection struct {
	Strangers      StrangersSection `yaml:"strangers"`
	WhiteList      []WhiteEntry     `yaml:"white_list" reload:"live" key:"range"`
	BlackList      []BlackEntry     `yaml:"black_list" reload:"live" key:"range"`
	DenyUserAgents []AgentEntry     `yaml:"deny_user_agents" reload:"live"` // absent: the shipped list
	RateLimits     []RateEntry      `yaml:"rate_limits" reload:"live" key:"name"`
	Log            EventLogSection  `yaml:"log"`
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
	Range   Ranges   `yaml:"range" reload:"live"`
	Realms  []string `yaml:"realms" oneof:"phones|trunks" reload:"live"`
	Exempt  []string `yaml:"exempt" oneof:"limits|bans|user_agents" later:"countries" reload:"live"`
	Comment string   `yaml:"comment,omitempty" reload:"live"`
}

// BlackEntry drops everything from ranges. A plain range stands for an entry with that range alone.
type BlackEntry struct {
	Range   Ranges    `yaml:"range" reload:"live"`
	Realms  []string  `yaml:"realms" oneof:"phones|trunks" reload:"live"`
	Until   Timestamp `yaml:"until,omitempty" reload:"live"` // absent: for ever
	Comment string    `yaml:"comment,omitempty" reload:"live"`
}

func (e *WhiteEntry) fromScalar(text []byte) error { return oneRange(&e.Range, text) }
func (e *BlackEntry) fromScalar(text []byte) error { return oneRange(&e.Range, text) }

func oneRange(into *Ranges, text []byte) error {
	var r Range
	if err := r.UnmarshalText(text); err != nil {
		return err
	}
	*into = Ranges{r}
	return nil
}

// AgentEntry is one rule on User-Agent; case is folded and outer white space cut.
type AgentEntry struct {
	Match   string `yaml:"match" reload:"live"`
	Mode    string `yaml:"mode" oneof:"exact|product|prefix|contains|regex" reload:"live"`
	Action  string `yaml:"action" oneof:"drop|reject" later:"ban" reload:"live"`
	Shadow  bool   `yaml:"shadow" reload:"live"` // counts what it would do, does nothing
	Comment string `yaml:"comment,omitempty" reload:"live"`
}

// RateEntry is one rate limit: for each source address (IPv6 /64) of its ranges a bucket a method.
type RateEntry struct {
	Name    string          `yaml:"name" reload:"live"`
	Range   Ranges          `yaml:"range" reload:"live"`
	Realms  []string        `yaml:"realms" oneof:"phones|trunks" reload:"live"`
	Limits  map[string]Rate `yaml:"limits" reload:"live"`                              // by method; * is every method not listed
	Burst   int             `yaml:"burst,omitempty" bounds:"1..1000000" reload:"live"` // absent: max(4, a tenth of the per-minute figure)
	Stack   bool            `yaml:"stack" reload:"live"`                               // applies in addition to the narrowest
	Action  string          `yaml:"action" oneof:"drop|reject" later:"ban" reload:"live"`
	Shadow  bool            `yaml:"shadow" reload:"live"` // counts what it would do, does nothing
	Comment string          `yaml:"comment,omitempty" reload:"live"`
}

// EventLogSection bounds the security lines of the log.
type EventLogSection struct {
	MaxEntries int      `yaml:"max_entries" bounds:"0..10000000" reload:"live"` // lines per Per; the rest is summed up
	Per        string   `yaml:"per" oneof:"second|minute|hour|day" reload:"live"`
	Classes    []string `yaml:"classes" oneof:"dropped|limited|banned|malformed|accepted" reload:"live"`
}
