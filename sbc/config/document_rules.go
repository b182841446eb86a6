package config

// MessageEntry judges requests by what they say. All conditions that are given must hold, of a list of patterns one.
type MessageEntry struct {
	Name       string   `yaml:"name" reload:"live"`
	Range      Scopes   `yaml:"range" reload:"live"` // trunks and nodes meet only rules that name them here
	Realms     []string `yaml:"realms" oneof:"phones|trunks" reload:"live"`
	Transports []string `yaml:"transports,omitempty" oneof:"udp|tcp|tls|wss" reload:"live"` // absent: all
	Methods    []string `yaml:"methods,omitempty" reload:"live"`                            // absent: all
	UserAgent  Patterns `yaml:"user_agent,omitempty" reload:"live"`                         // any User-Agent of the request
	From       Patterns `yaml:"from,omitempty" reload:"live"`                               // the raw field: display name and URI
	To         Patterns `yaml:"to,omitempty" reload:"live"`
	RequestURI Patterns `yaml:"request_uri,omitempty" reload:"live"`
	CallID     Patterns `yaml:"call_id,omitempty" reload:"live"`
	Action     string   `yaml:"action" oneof:"allow|drop|reject|ban|alarm" reload:"live"`
	Shadow     bool     `yaml:"shadow" reload:"live"`  // counts what it would do, does nothing
	Capture    bool     `yaml:"capture" reload:"live"` // what it matches is written to files
	Comment    string   `yaml:"comment,omitempty" reload:"live"`
}

// CaptureSection says where that goes to.
type CaptureSection struct {
	Directory string `yaml:"directory" reload:"live"`
	MaxSize   Size   `yaml:"max_size" reload:"live"`               // of a file
	Files     int    `yaml:"files" bounds:"1..1000" reload:"live"` // the oldest are removed
	Media     bool   `yaml:"media" reload:"live"`                  // RTP of calls that a rule with action allow or alarm matches
}

// PatternEntry is a comparison with one part of a message; case is folded and outer white space cut. A plain text stands
// for an entry with that text alone.
type PatternEntry struct {
	Match string `yaml:"match,omitempty" reload:"live"`
	Mode  string `yaml:"mode" oneof:"exact|product|prefix|contains|regex|absent" reload:"live"`
}

// Patterns is a list of comparisons; in the file one may stand for a list of one.
type Patterns []PatternEntry

func (Patterns) acceptsOne() {}

func (p *PatternEntry) fromScalar(text []byte) error {
	if len(text) == 0 {
		return badValue("write { mode: absent } for a field that is missing or empty", "the text is empty: it would match everything")
	}
	p.Match = string(text)
	return nil
}

// CallEntry says who may call what. With per it bounds what each caller may use; without it refuses the calls themselves.
type CallEntry struct {
	Name          string `yaml:"name" reload:"live"`
	Numbers       Words  `yaml:"numbers,omitempty" reload:"live"`                             // how the dialled number begins; absent: every number
	From          Words  `yaml:"from,omitempty" reload:"live"`                                // phones, strangers, pbx, trunks by name, users, user@domain
	Per           string `yaml:"per,omitempty" oneof:"aor|trunk|source" reload:"live"`        // whom the bounds are for
	Concurrent    int    `yaml:"concurrent,omitempty" bounds:"1..1000000" reload:"live"`      // calls at a time; absent: no bound
	PerMinute     int    `yaml:"per_minute,omitempty" bounds:"1..1000000" reload:"live"`      // new calls; absent: no bound
	MinutesPerDay int    `yaml:"minutes_per_day,omitempty" bounds:"1..1000000" reload:"live"` // talked in 24 hours; absent: no bound
	Action        string `yaml:"action" oneof:"reject|alarm" reload:"live"`
	Code          int    `yaml:"code" bounds:"400..699" reload:"live"` // of the refusal
	Shadow        bool   `yaml:"shadow" reload:"live"`                 // counts what it would do, does nothing
	Comment       string `yaml:"comment,omitempty" reload:"live"`
}

// Words is a list of texts; in the file one may stand for a list of one.
type Words []string

func (Words) acceptsOne() {}
