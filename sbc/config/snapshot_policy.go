package config

import (
	"time"

	"sallyport/policy/toll"
)

// Policy is the guard's configuration, and that of what feeds it.
type Policy struct {
	Answer         [2]bool // by nat.Realm: strangers get an answer instead of silence
	StrangersRate  Rate
	StrangersBurst int
	White          []White
	Black          []Black
	Feeds          []Feed
	Countries      Geography
	Messages       []MessageRule
	Agents         []Agent
	Shipped        bool // Agents is the shipped list
	Limits         []RateLimit
	ShippedLimits  bool // Limits is the shipped rule
	Bans           Bans
	Toll           toll.Config
	Log            EventLog
	ReloadGuard    int      // percent of registered phones that a reload may newly shut out; 100: all
	Recorder       int64    // bytes of the flight recorder; 0: none
	Captures       Captures // of rules
	Registrar      bool     // phones may register: doors on both sides and a node to serve them
	Unregistered   string   // phones.unregistered
	Emergency      []string // numbers that nothing of this stops
}

// White exempts addresses from checks.
type White struct {
	Range                               Scopes
	Realms                              [2]bool
	Limits, Bans, UserAgents, Countries bool // exempt from
	Comment                             string
}

// Black drops what comes from addresses.
type Black struct {
	Range   Scopes
	Realms  [2]bool
	Until   time.Time // zero: for ever
	Comment string
}

// Feed is a list of addresses that others keep.
type Feed struct {
	Name       string // letters, digits, dot, dash, underscore: it may name a file
	URL, File  string // one of the two
	Every      time.Duration
	Realms     [2]bool
	MaxEntries int
	Shadow     bool
	Comment    string
}

// Geography refuses sources by their country.
type Geography struct {
	Database string   // the file; "": none, and then nothing asks for a country
	Used     bool     // List or a range of a rule asks for countries
	Allow    bool     // List holds those that may come in; else those that may not
	List     []string // ISO 3166-1 alpha-2
	Realms   [2]bool
	Unknown  bool // addresses that the database does not know are refused
	Shadow   bool
}

// MessageRule judges requests by what they say.
type MessageRule struct {
	Name                             string
	Range                            Scopes
	Realms                           [2]bool
	Transports, Methods              []string // none: all
	UserAgent, From, To, URI, CallID []TextPattern
	Action                           string // allow, drop, reject, ban or alarm
	Shadow, Capture                  bool
	Comment                          string
}

// Captures are the files of what rules with Capture match.
type Captures struct {
	Directory string
	MaxSize   int64 // of a file
	Files     int
	Media     bool
}

// TextPattern is a comparison with one part of a message.
type TextPattern struct {
	Match string
	Mode  string // exact, product, prefix, contains, regex or absent
}

// Agent is one rule on User-Agent.
type Agent struct {
	Match   string
	Mode    string // exact, product, prefix, contains or regex
	Action  string // drop, reject, ban or alarm
	Shadow  bool
	Comment string
}

// RateLimit is one limit of each source.
type RateLimit struct {
	Name            string
	Range           Scopes
	Realms          [2]bool
	Preset          string          // in place of Limits and Burst
	Limits          map[string]Rate // by method; * is every method not listed, unparseable what is no SIP
	Burst           int             // 0: by each rate
	PerPhone, Stack bool
	Shadow          bool
	Action          string // drop, reject, ban or alarm
	Comment         string
}

// Bans turns evidence into bans.
type Bans struct {
	Points int           // that ban a source; 0: nobody is banned for what it did
	Within time.Duration // in which they are counted
	First  time.Duration // the first ban
	Factor int           // each further one is so much longer
	Most   time.Duration // the longest
	Shadow bool
	Kernel bool // the kernel drops what is banned, too
}

// EventLog bounds the security lines of the log.
type EventLog struct {
	Max     int
	Per     time.Duration
	Classes map[string]bool // dropped, limited, banned, malformed, accepted
}
