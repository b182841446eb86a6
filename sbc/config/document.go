package config

// Document is the whole file after defaults and flags: every key that this version accepts, with its default, its bounds
// and, in the reload tag, when a changed value counts. Tags:
//
//	yaml    the key
//	reload  live | new calls | listener | restart
//	oneof   the words that the value may be
//	later   words of the contract that this version refuses
//	bounds  lowest..highest of a number
//	key     the field that tells the elements of a list apart
type Document struct {
	Outside        OutsideSection   `yaml:"outside"`
	Inside         InsideSection    `yaml:"inside"`
	InternalRanges Ranges           `yaml:"internal_ranges" reload:"live"` // judged by packet source: not NATed
	Media          MediaSection     `yaml:"media"`
	PBX            PBXSection       `yaml:"pbx"`
	Phones         PhonesSection    `yaml:"phones"`
	Trunks         []TrunkEntry     `yaml:"trunks" reload:"live" key:"name"`
	TrunkGroups    []GroupEntry     `yaml:"trunk_groups,omitempty" reload:"live" key:"name"` // bounds that trunks share
	Routes         RoutesSection    `yaml:"routes"`
	Policy         PolicySection    `yaml:"policy"`
	Emergency      EmergencySection `yaml:"emergency"`
	Limits         LimitsSection    `yaml:"limits"`
	CDR            CDRSection       `yaml:"cdr"`
	State          StateSection     `yaml:"state"`
	Log            LogSection       `yaml:"log"`
	DrainTimeout   Duration         `yaml:"drain_timeout" reload:"live"` // how long SIGTERM waits for calls to end
	Admin          AdminSection     `yaml:"admin"`
}

// OutsideSection is the door to the Internet.
type OutsideSection struct {
	Address         Addrs            `yaml:"address" reload:"restart"`                      // bound here: one, or one per family
	ExternalAddress Publics          `yaml:"external_address,omitempty" reload:"new calls"` // what the world sees; default: address
	Phones          PhoneListeners   `yaml:"phones"`
	Trunks          OutsideListeners `yaml:"trunks"`
	TLS             TLSSection       `yaml:"tls"`
}

// InsideSection is the door to the PBX.
type InsideSection struct {
	Address Addrs           `yaml:"address" reload:"restart"`
	Phones  InsideListeners `yaml:"phones"` // the PBX reaches roaming phones here
	Trunks  InsideListeners `yaml:"trunks"` // the PBX reaches trunks here
}

// Ports are what is open for one realm of one side, by transport; 0: not open.
type Ports struct {
	UDP, TCP, TLS, WSS uint16
}

// PhoneListeners says what is open for roaming phones. A map in the file lists exactly what is open.
type PhoneListeners struct {
	UDP             uint16  `yaml:"udp,omitempty" bounds:"1..65535" reload:"listener"` // 0: not open
	TCP             uint16  `yaml:"tcp,omitempty" bounds:"1..65535" reload:"listener"`
	TLS             uint16  `yaml:"tls,omitempty" bounds:"1..65535" reload:"listener"` // wants outside.tls
	WSS             uint16  `yaml:"wss,omitempty" bounds:"1..65535" reload:"listener"` // WebSocket, for browsers; wants outside.tls
	Address         Addrs   `yaml:"address,omitempty" reload:"listener"`               // default: outside.address
	ExternalAddress Publics `yaml:"external_address,omitempty" reload:"new calls"`     // default: outside.external_address
}

// OutsideListeners says what is open for trunks outside. A map in the file lists exactly what is open.
type OutsideListeners struct {
	UDP             uint16  `yaml:"udp,omitempty" bounds:"1..65535" reload:"listener"` // 0: not open
	TCP             uint16  `yaml:"tcp,omitempty" bounds:"1..65535" reload:"listener"`
	TLS             uint16  `yaml:"tls,omitempty" bounds:"1..65535" reload:"listener"` // wants outside.tls
	Address         Addrs   `yaml:"address,omitempty" reload:"listener"`               // default: outside.address
	ExternalAddress Publics `yaml:"external_address,omitempty" reload:"new calls"`     // default: outside.external_address
}

// InsideListeners says what is open for one realm inside. A map in the file lists exactly what is open.
type InsideListeners struct {
	UDP     uint16 `yaml:"udp,omitempty" bounds:"1..65535" reload:"listener"` // 0: not open
	TCP     uint16 `yaml:"tcp,omitempty" bounds:"1..65535" reload:"listener"`
	Address Addrs  `yaml:"address,omitempty" reload:"listener"` // default: inside.address
}

func (l *PhoneListeners) clear()   { *l = PhoneListeners{} }
func (l *OutsideListeners) clear() { *l = OutsideListeners{} }
func (l *InsideListeners) clear()  { *l = InsideListeners{} }

func (l *PhoneListeners) ports() Ports {
	return Ports{UDP: l.UDP, TCP: l.TCP, TLS: l.TLS, WSS: l.WSS}
}

func (l *OutsideListeners) ports() Ports { return Ports{UDP: l.UDP, TCP: l.TCP, TLS: l.TLS} }
func (l *InsideListeners) ports() Ports  { return Ports{UDP: l.UDP, TCP: l.TCP} }

// TLSSection is what TLS and WebSocket listeners prove themselves by. The files are PEM; a reload reads them anew.
type TLSSection struct {
	Certificate string `yaml:"certificate" reload:"live"` // with the chain up to the authority
	Key         string `yaml:"key" reload:"live"`         // not readable by everybody
	ClientCA    string `yaml:"client_ca" reload:"live"`   // clients must show a certificate of one of these; "": they need none
}

// MediaSection is the relay.
type MediaSection struct {
	Ports       PortRange `yaml:"ports" reload:"restart"`          // UDP, on both sides; a stream takes a pair a side
	Timeout     Duration  `yaml:"timeout" reload:"new calls"`      // silence that ends a call; 0: never
	HoldTimeout Duration  `yaml:"hold_timeout" reload:"new calls"` // the same while held; 0: never
	DSCP        uint8     `yaml:"dscp" bounds:"0..63" reload:"restart"`
	Backend     string    `yaml:"backend" oneof:"auto|epoll|steer" reload:"restart"` // auto: steer where the machine allows it
	Latency     string    `yaml:"latency" oneof:"normal|low" reload:"restart"`       // low: nothing is gathered
}

// PBXSection is the system inside.
type PBXSection struct {
	Domain         string        `yaml:"domain" reload:"new calls"` // host part of what goes to the PBX
	Nodes          []NodeEntry   `yaml:"nodes" reload:"live" key:"address"`
	Sources        Sources       `yaml:"sources,omitempty" reload:"live"` // further addresses the PBX sends from, or names
	Health         HealthSection `yaml:"health"`
	AttemptTimeout Duration      `yaml:"attempt_timeout" reload:"new calls"`                    // no answer at all within: the next hop
	SRTP           string        `yaml:"srtp" oneof:"off|optional|required" reload:"new calls"` // keys in SDP (RFC 4568)
	SessionTimer   Duration      `yaml:"session_timer" reload:"new calls"`                      // asked for (RFC 4028); 0: only granted
	// Limits is what may reach the PBX of new requests by method, all sources together; * is every method not listed.
	Limits map[string]Rate `yaml:"limits" reload:"live"`
	Pace   Rate            `yaml:"pace" reload:"live"` // REGISTERs that move to a node which comes back

	Credentials CredentialsSection `yaml:"credentials"` // if it challenges calls of trunks
}

// HealthSection is how nodes are probed with OPTIONS.
type HealthSection struct {
	Interval  Duration `yaml:"interval" reload:"live"` // 0: no probe, state unknown
	Failures  int      `yaml:"failures" bounds:"1..100" reload:"live"`
	Successes int      `yaml:"successes" bounds:"1..100" reload:"live"`
}

// NodeEntry is one PBX node.
type NodeEntry struct {
	Address   Endpoint `yaml:"address" reload:"live"`
	Transport string   `yaml:"transport" oneof:"udp|tcp" later:"tls" reload:"live"`
	Weight    int      `yaml:"weight" bounds:"0..65535" reload:"live"`   // RFC 2782
	Priority  int      `yaml:"priority" bounds:"0..65535" reload:"live"` // lower first
	Realms    []string `yaml:"realms" oneof:"phones|trunks" reload:"live"`
	Group     string   `yaml:"group,omitempty" reload:"live"` // routes.inbound sends calls there

	Capacity NodeCapacity `yaml:"capacity"` // absent: unlimited
}

// TrunkEntry is one provider.
type TrunkEntry struct {
	Name            string              `yaml:"name" reload:"live"`
	Preset          Words               `yaml:"preset,omitempty" oneof:"sipconnect-register|sipconnect-static|account-from|no-asserted|preferred|rpid|pilot|untrusted|diversion|history-info|plus|no-plus|national|international|user-phone|no-hold-reinvite|early-183|no-update|no-100rel|no-replaces|no-info|no-session-timer|no-options|symmetric" reload:"live"`
	Mode            string              `yaml:"mode" oneof:"address|register" reload:"live"`
	Peers           []PeerEntry         `yaml:"peers" reload:"live" key:"address"`
	Sources         Sources             `yaml:"sources,omitempty" reload:"live"`               // who may call in; default: the peers
	MediaSources    Sources             `yaml:"media_sources,omitempty" reload:"new calls"`    // media is accepted from these too
	ExternalAddress Public              `yaml:"external_address,omitempty" reload:"new calls"` // own one for this trunk
	Symmetric       bool                `yaml:"symmetric" reload:"new calls"`                  // responses always to the packet's source
	Registration    RegistrarSection    `yaml:"registration"`
	Credentials     CredentialsSection  `yaml:"credentials"`
	TLS             TrunkTLSSection     `yaml:"tls"`
	Keepalive       KeepaliveSection    `yaml:"keepalive"`
	SRTP            string              `yaml:"srtp" oneof:"off|optional|required" reload:"new calls"`                    // keys in SDP (RFC 4568)
	DTMF            string              `yaml:"dtmf" oneof:"pass|rfc4733|info" reload:"new calls"`                        // how it sends and takes digits
	Codecs          Words               `yaml:"codecs" reload:"new calls"`                                                // the only ones that pass, in that order; none: all
	SessionTimer    Duration            `yaml:"session_timer" reload:"new calls"`                                         // asked for (RFC 4028); 0: only granted
	RingTimeout     Duration            `yaml:"ring_timeout" reload:"new calls"`                                          // from the first 18x to the final answer
	MaxCall         Duration            `yaml:"max_call" reload:"new calls"`                                              // from the answer to the end; 0: no bound
	Transfer        string              `yaml:"transfer" oneof:"pass|local|reject" reload:"new calls"`                    // what becomes of the PBX's REFER towards it
	Referral        string              `yaml:"referral" oneof:"pass|local|reject" reload:"new calls"`                    // what becomes of its own
	Redirect        string              `yaml:"redirect" oneof:"pass|follow|reject" reload:"new calls"`                   // what becomes of its 3xx
	Hold            string              `yaml:"hold" oneof:"pass|local" reload:"new calls"`                               // local: it is not told of holds
	EarlyMedia      string              `yaml:"early_media" oneof:"pass|183" reload:"new calls"`                          // 183: it takes descriptions in no other 1xx
	Unsupported     Words               `yaml:"unsupported" oneof:"update|100rel|replaces|info|timer" reload:"new calls"` // what it is neither told of nor asked for
	Capacity        CapacitySection     `yaml:"capacity"`                                                                 // absent: unlimited
	Inbound         TrunkInboundSection `yaml:"inbound"`
	Outbound        OutboundSection     `yaml:"outbound"`
	Group           string              `yaml:"group,omitempty" reload:"live"`            // trunks that stand for each other
	Priority        int                 `yaml:"priority" bounds:"0..65535" reload:"live"` // within the group, lower first
	Weight          int                 `yaml:"weight" bounds:"0..65535" reload:"live"`   // likewise; RFC 2782
	Failover        CodeNames           `yaml:"failover" reload:"new calls"`              // answers after which the next one is tried
	Numbers         NumbersSection      `yaml:"numbers"`
	Headers         HeadersSection      `yaml:"headers"`
	Identity        IdentitySection     `yaml:"identity"`
	Codes           CodesSection        `yaml:"codes"`
}

// PeerEntry is one address of a provider.
type PeerEntry struct {
	Address   Endpoint `yaml:"address" reload:"live"`
	Transport string   `yaml:"transport" oneof:"udp|tcp|tls" reload:"live"`
	Weight    int      `yaml:"weight" bounds:"0..65535" reload:"live"`   // RFC 2782
	Priority  int      `yaml:"priority" bounds:"0..65535" reload:"live"` // lower first
}

// KeepaliveSection is how a trunk's peers are probed.
type KeepaliveSection struct {
	Method    string   `yaml:"method" oneof:"options|crlf|none" reload:"live"`
	Interval  Duration `yaml:"interval" reload:"live"` // 0: no probe, state unknown
	Failures  int      `yaml:"failures" bounds:"1..100" reload:"live"`
	Successes int      `yaml:"successes" bounds:"1..100" reload:"live"`
}

// OutboundSection is what a trunk is used for.
type OutboundSection struct {
	Match []Pattern `yaml:"match" reload:"live"` // dialled user parts; none: no calls out
}

// EmergencySection names the numbers whose calls no limit, country, rule on calls, bound or drain stops, if they come from a
// registered phone, the PBX or a trunk.
type EmergencySection struct {
	Numbers Words `yaml:"numbers" reload:"live"` // as they are dialled: 112
	Trunks  Words `yaml:"trunks" reload:"live"`  // tried first, in order, whatever they take otherwise
}

// LimitsSection bounds the whole program; 0: by media ports, no bound.
type LimitsSection struct {
	Calls          int `yaml:"calls" bounds:"0..1000000" reload:"live"`
	CallsPerSecond int `yaml:"calls_per_second" bounds:"0..100000" reload:"live"`
}

// CDRSection is where call records go.
type CDRSection struct {
	Directory string   `yaml:"directory" reload:"restart"`
	Format    string   `yaml:"format" oneof:"jsonl|csv" reload:"restart"`
	Rotate    Duration `yaml:"rotate" reload:"restart"`   // 0: never by time
	Keep      Duration `yaml:"keep" reload:"restart"`     // 0: for ever
	MaxSize   Size     `yaml:"max_size" reload:"restart"` // of all files together; 0: no bound
}

// StateSection is where state outlives a restart.
type StateSection struct {
	Directory string `yaml:"directory" reload:"restart"`
}

// LogSection is the program's log, on standard error.
type LogSection struct {
	Level        string `yaml:"level" oneof:"debug|info|warn|error" reload:"live"`
	Format       string `yaml:"format" oneof:"json|console" reload:"restart"`
	SecurityFile string `yaml:"security_file" reload:"restart"` // security lines go here too; "": nowhere else
	SecuritySize Size   `yaml:"security_size" reload:"restart"` // the file begins anew at that size, one older one stays; 0: never
}

// AdminSection is how the running program is reached.
type AdminSection struct {
	Socket string `yaml:"socket" reload:"restart"` // "": in $RUNTIME_DIRECTORY, /run/sbc or $XDG_RUNTIME_DIR
	HTTP   string `yaml:"http" reload:"listener"`  // metrics and health; "": nowhere
}
