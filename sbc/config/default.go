package config

import (
	"net/netip"
	"slices"
	"time"
)

// bothRealms is the default of realms lists; a fresh slice each time, since documents are filled in place.
func bothRealms() []string { return []string{"phones", "trunks"} }

// Default is the document of an empty file: every default in one place. It is not valid, since addresses, the PBX and
// its domain have none.
func Default() *Document {
	return &Document{
		Outside: OutsideSection{Phones: PhoneListeners{UDP: 5060, TCP: 5060}, Trunks: OutsideListeners{UDP: 5080}},
		Inside:  InsideSection{Phones: InsideListeners{UDP: 5060, TCP: 5060}, Trunks: InsideListeners{UDP: 5080, TCP: 5080}},
		InternalRanges: Ranges{ // RFC 1918
			span("10.0.0.0", "10.255.255.255"), span("172.16.0.0", "172.31.255.255"), span("192.168.0.0", "192.168.255.255"),
		},
		Media: MediaSection{
			Ports:   PortRange{First: 30000, Last: 31000},
			Timeout: Duration(time.Minute), HoldTimeout: Duration(time.Hour), DSCP: 46, Backend: "auto", Latency: "normal",
		},
		PBX: PBXSection{
			Health:         HealthSection{Interval: Duration(10 * time.Second), Failures: 3, Successes: 2},
			AttemptTimeout: Duration(1500 * time.Millisecond), SRTP: "off", Pace: Rate{Count: 50, Per: time.Second},
		},
		Phones: PhonesSection{
			Unregistered: "drop",
			Registration: RegistrationSection{
				Outside: Duration(time.Minute), Reauthenticate: Duration(10 * time.Minute), Grace: Duration(30 * time.Minute), Contacts: 8, PerSource: 200,
			},
			Keepalive: PhoneKeepalive{Interval: Duration(25 * time.Second)},
			Latching:  "strict", SRTP: "optional", DTMF: "pass", Transfer: "pass",
			RingTimeout: Duration(180 * time.Second),
			MaxCall:     Duration(12 * time.Hour),
		},
		Policy: PolicySection{
			Strangers: StrangersSection{
				Phones: "silent", Trunks: "silent", Rate: Rate{Count: 50, Per: time.Second}, Burst: 100,
			},
			Countries:      CountriesSection{Mode: "deny", Realms: bothRealms(), Unknown: "allow"},
			DenyUserAgents: shippedAgents(),
			RateLimits:     shippedLimits(),
			Bans: BansSection{
				Points: 20, Within: Duration(time.Minute), First: Duration(10 * time.Minute), Factor: 6, Most: Duration(24 * time.Hour),
			},
			Log: EventLogSection{
				MaxEntries: 6000, Per: "hour", Classes: []string{"dropped", "limited", "banned", "malformed"},
			},
			ReloadGuard: 10, Recorder: 16 << 20,
			Capture: CaptureSection{Directory: "/var/lib/sbc/captures", MaxSize: 100 << 20, Files: 10},
		},
		CDR: CDRSection{
			Directory: "/var/log/sbc", Format: "jsonl", Rotate: Duration(24 * time.Hour),
			Keep: Duration(90 * 24 * time.Hour), MaxSize: 1 << 30,
		},
		State:        StateSection{Directory: "/var/lib/sbc"},
		Log:          LogSection{Level: "info", Format: "json", SecuritySize: 100 << 20},
		DrainTimeout: Duration(time.Minute),
	}
}

func span(first, last string) Range {
	return Range{first: netip.MustParseAddr(first), last: netip.MustParseAddr(last)}
}

// The defaults of the elements of lists.

func (e *NodeEntry) setDefaults() {
	*e = NodeEntry{Transport: "udp", Weight: 1, Priority: 1, Realms: bothRealms()}
}

func (e *PeerEntry) setDefaults() { *e = PeerEntry{Transport: "udp", Weight: 1, Priority: 1} }

func (e *TrunkEntry) setDefaults() {
	*e = TrunkEntry{
		Mode: "address", SRTP: "off", DTMF: "pass", Transfer: "local", Referral: "reject", Redirect: "pass", Hold: "pass", EarlyMedia: "pass",
		Registration: defaultRegistration(),
		Keepalive:    KeepaliveSection{Method: "options", Interval: Duration(30 * time.Second), Failures: 3, Successes: 2},
		SessionTimer: Duration(1800 * time.Second), RingTimeout: Duration(180 * time.Second), MaxCall: Duration(12 * time.Hour),
		Capacity: defaultCapacity(),
		Outbound: OutboundSection{Match: []Pattern{mustPattern(`^\+?[0-9]{2,15}$`)}},
		Priority: 1, Weight: 1, Failover: CodeNames{"503"}, Numbers: NumbersSection{Format: "dialled"},
		Identity: passIdentity(),
	}
}

func mustPattern(text string) Pattern {
	var p Pattern
	if err := p.UnmarshalText([]byte(text)); err != nil {
		panic(err) // a constant of this file
	}
	return p
}

func (e *WhiteEntry) setDefaults() {
	*e = WhiteEntry{Realms: bothRealms(), Exempt: []string{"limits", "bans", "user_agents", "countries"}}
}

func (e *BlackEntry) setDefaults() { *e = BlackEntry{Realms: bothRealms()} }

func (e *FeedEntry) setDefaults() {
	*e = FeedEntry{Every: Duration(12 * time.Hour), Realms: bothRealms(), MaxEntries: 200_000}
}

func (e *MessageEntry) setDefaults() {
	*e = MessageEntry{Range: anywhere(), Realms: bothRealms(), Action: "drop"}
}

func (e *PatternEntry) setDefaults() { *e = PatternEntry{Mode: "contains"} }

func (e *CallEntry) setDefaults() { *e = CallEntry{Action: "reject", Code: 403} }

func (e *AgentEntry) setDefaults() { *e = AgentEntry{Mode: "contains", Action: "drop"} }

func (e *RateEntry) setDefaults() { *e = RateEntry{Realms: bothRealms(), Action: "drop"} }

// settle fixes the defaults that depend on other keys.
func settle(doc *Document, from *origin) {
	// Who gives a certificate wants phones on TLS, unless the map says otherwise.
	if doc.Outside.TLS.Certificate != "" && !from.given("outside.phones") {
		doc.Outside.Phones.TLS = sipsPort
	}
	// A node whose realms are not given serves those that are open: one that the administrator closed is not meant.
	open := map[string]bool{"phones": doc.Inside.Phones.ports() != Ports{}, "trunks": doc.Inside.Trunks.ports() != Ports{}}
	for i := range doc.PBX.Nodes {
		n := &doc.PBX.Nodes[i]
		n.Address.settle(n.Transport)
		n.Address.choose(from.given(index("pbx.nodes", i) + ".transport"))
		if !from.given(index("pbx.nodes", i)+".realms") && (open["phones"] || open["trunks"]) {
			n.Realms = slices.DeleteFunc(n.Realms, func(r string) bool { return !open[r] })
		}
	}
	settleRegistrations(doc, from)
	for i := range doc.Trunks {
		for j := range doc.Trunks[i].Peers {
			p := &doc.Trunks[i].Peers[j]
			p.Address.settle(p.Transport)
			p.Address.choose(from.given(index(index("trunks", i)+".peers", j) + ".transport"))
		}
	}
}
