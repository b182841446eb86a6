package config

// PhonesSection is how roaming phones are served.
type PhonesSection struct {
	Domains        []string            `yaml:"domains" reload:"live"` // served besides pbx.domain and our own addresses
	Unregistered   string              `yaml:"unregistered" oneof:"drop|reject|forward" reload:"live"`
	Reachable      []Pattern           `yaml:"reachable" reload:"live"` // users that unregistered sources may call where they are forwarded
	Registration   RegistrationSection `yaml:"registration"`
	Keepalive      PhoneKeepalive      `yaml:"keepalive"`
	Latching       string              `yaml:"latching" oneof:"strict|delayed|off" reload:"new calls"`
	SRTP           string              `yaml:"srtp" oneof:"off|optional|required" reload:"new calls"` // keys in SDP (RFC 4568)
	DTMF           string              `yaml:"dtmf" oneof:"pass|rfc4733|info" reload:"new calls"`     // how they send and take digits
	TrustedHeaders []string            `yaml:"trusted_headers" reload:"new calls"`                    // pass from a phone besides those of every phone
	Origins        []string            `yaml:"origins" reload:"live"`                                 // web sites whose pages may open a WebSocket; empty: all
	Codecs         Words               `yaml:"codecs" reload:"new calls"`                             // the only ones that pass, in that order; none: all
	SessionTimer   Duration            `yaml:"session_timer" reload:"new calls"`                      // asked for (RFC 4028); 0: only granted
	RingTimeout    Duration            `yaml:"ring_timeout" reload:"new calls"`                       // from the first 18x to the final answer; 0: no bound
	MaxCall        Duration            `yaml:"max_call" reload:"new calls"`                           // from the answer to the end; 0: no bound
	Transfer       string              `yaml:"transfer" oneof:"pass|local|reject" reload:"new calls"` // what becomes of a REFER towards them, and of theirs
	Capacity       PhoneCapacity       `yaml:"capacity"`                                              // absent: unlimited
	Headers        HeadersSection      `yaml:"headers"`
	Codes          CodesSection        `yaml:"codes"`
}

// RegistrationSection bounds the bindings of phones.
type RegistrationSection struct {
	Outside        Duration `yaml:"outside" reload:"live"`                      // expiry that a phone is told at most; 0: as the PBX says
	Inside         Duration `yaml:"inside" reload:"live"`                       // expiry that the PBX is asked for; 0: as the phone says, no throttling
	Reauthenticate Duration `yaml:"reauthenticate" reload:"live"`               // how long refreshes are answered here since the PBX accepted one
	Grace          Duration `yaml:"grace" reload:"live"`                        // how long bindings outlive an outage; 0: not at all
	Contacts       int      `yaml:"contacts" bounds:"1..100" reload:"live"`     // of one address-of-record
	PerSource      int      `yaml:"per_source" bounds:"1..25000" reload:"live"` // behind one source address
}

// PhoneKeepalive is how the way to a phone is kept open: OPTIONS on UDP, CRLF on streams.
type PhoneKeepalive struct {
	Interval Duration `yaml:"interval" reload:"live"` // 0: none
}
