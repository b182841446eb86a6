package config

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"sallyport/nat"
	"sallyport/sbc/cdr"
	"sallyport/sbc/tu"
)

// Snapshot is one valid configuration, resolved for the rooms that work by it. Nobody changes it after Load; a reload
// makes another.
type Snapshot struct {
	Interfaces []nat.Interface // numbered from 0; see Renumber
	Told       []string        // beside Interfaces: the name that has the advertised address, which is then the bound one; "": none
	Internal   []netip.Prefix
	TLS        TLS
	Media      Media
	PBX        PBX
	Phones     Phones
	Trunks     []Trunk // in file order
	Routes     Routes
	Groups     []Group // of trunks
	Policy     Policy
	Calls      int // most calls at a time; 0: by media ports
	CallRate   int // most new calls a second; 0: no bound
	CDR        cdr.Config
	StateDir   string
	Log        Log
	Drain      time.Duration  // how long SIGTERM waits for calls to end
	Socket     string         // admin socket; "": the default place
	HTTP       netip.AddrPort // where metrics and health are read; invalid: nowhere

	doc  *Document
	path string
	from *origin
}

// TLS names the PEM files of TLS listeners. They have been read and fit together; who serves them reads them at start and
// at each reload. Certificate and Key are set where an Interface has the transport TLS or WSS.
type TLS struct {
	Certificate, Key string
	ClientCA         string // "": clients need no certificate
}

// Phones is how roaming phones are served.
type Phones struct {
	// Domains are the hosts that a REGISTER may be for: pbx.domain, phones.domains, and our own addresses outside, without
	// brackets; in lower case, without a dot at the end.
	Domains      []string
	Unregistered string           // drop, reject or forward: what becomes of a call from a source without a binding
	Reachable    []*regexp.Regexp // users that may be called where Unregistered is forward; anchored
	Outside      time.Duration    // expiry that a phone is told at most; 0: as the PBX says
	Inside       time.Duration    // expiry that the PBX is asked for; 0: as the phone says, and nothing is answered here
	// Reauthenticate is for how long refreshes are answered here since the PBX accepted one, Grace how long bindings outlive an
	// outage; 0: not at all.
	Reauthenticate, Grace time.Duration
	Contacts              int           // bindings of one address-of-record at most
	PerSource             int           // bindings behind one source address at most
	Keepalive             time.Duration // 0: none
	Latch                 tu.Latch
	SRTP                  tu.SRTP
	DTMF                  tu.DTMF
	Trusted               []string      // header fields, in canonical spelling, that pass from a phone besides those of every phone
	Origins               []string      // of pages that may open a WebSocket, as browsers write them (RFC 6454 §6.2); none: all
	RingTimeout           time.Duration // from the first 18x to the final answer; 0: no bound
	Codecs                []string      // the only ones that pass, in the order of preference; none: all
	SessionTimer          time.Duration // asked for; 0: only granted
	MaxCall               time.Duration // from the answer to the end; 0: no bound
	Transfer              tu.Transfer   // of a REFER towards them, and of theirs
	Rules                 *tu.Rules     // of their header fields and answers; nil: none
	Calls                 int           // of one address-of-record at a time; 0: any
	SourceCalls           int           // of one source address at a time; 0: any
}

// Media is the relay's configuration.
type Media struct {
	FirstPort, LastPort uint16          // both included
	Addresses           [2][]netip.Addr // bound, by side: one per family; equal entries share one pool
	Advertised          [2][]netip.Addr // what the peers of a side are told, in the order of Addresses
	Names               [2][]string     // beside Advertised, as Told of the interfaces
	Timeout, Hold       time.Duration   // silence that ends a call; 0: never
	DSCP                uint8
	Backend             string // "auto", "epoll" or "steer"
	Latency             string // "normal" or "low"
}

// PBX is the system inside.
type PBX struct {
	Domain         string
	Nodes          []Node
	Sources        []netip.Prefix // besides the nodes' addresses
	SourceNames    []string       // whose addresses count as Sources
	Probe          Probe
	AttemptTimeout time.Duration
	SRTP           tu.SRTP
	SessionTimer   time.Duration   // asked for; 0: only granted
	Account        *tu.Account     // for its challenges of trunk calls; nil: they have no answer
	Limits         map[string]Rate // new requests towards it by method, all sources together; * is every method not listed
	Pace           Rate            // REGISTERs that move to a node which comes back
}

// Node is one PBX node.
type Node struct {
	Address          netip.AddrPort // not valid where a name stands
	Name             Name
	Entry            int // its place in pbx.nodes: a name may become several
	Transport        nat.Transport
	Weight, Priority int
	Realms           [2]bool // by nat.Realm
	Group            string  // that routes name; empty: none
	Calls            int     // at a time, in both directions together; 0: any
}

// Trunk is one provider.
type Trunk struct {
	Name         string
	Peers        []Peer
	Sources      []netip.Prefix // who may call in
	MediaSources []netip.Prefix
	// SourceNames and MediaNames are the names whose addresses count as Sources and MediaSources. SourcesByPeers: no sources are
	// given, the peers' addresses count.
	SourceNames, MediaNames []string
	SourcesByPeers          bool

	Host             string     // what its first peer is called
	External         netip.Addr // invalid: that of the interface, or of ExternalName
	ExternalName     string
	Symmetric        bool
	Probe            Probe // Interval 0: none
	Capacity         Capacity
	RingTimeout      time.Duration
	Codecs           []string      // the only ones that pass, in the order of preference; none: all
	SessionTimer     time.Duration // asked for; 0: only granted
	MaxCall          time.Duration // from the answer to the end; 0: no bound
	SRTP             tu.SRTP
	DTMF             tu.DTMF
	Transfer         tu.Transfer        // of the PBX's REFER towards it
	Referral         tu.Transfer        // of its own
	Redirect         tu.Redirect        // of its 3xx
	Manners          tu.Manners         // what it does not take
	Outbound         []*regexp.Regexp   // anchored; none: no calls out
	Numbers          []*regexp.Regexp   // anchored; called by it alone, where other trunks have its sources; none: it is not told by them
	Group            string             // of trunks that stand for each other; empty: none
	Priority, Weight int                // within the group
	Failover         tu.Codes           // answers after which the next one is tried
	Rules            *tu.Rules          // of its numbers, names, header fields and answers; nil: none
	Registration     *TrunkRegistration // our account there; nil: it knows us by our address
	Account          *tu.Account        // what its challenges are answered with where it knows us by our address; nil: nothing
	TLS              TrunkTLS           // how the two prove who they are
}

// Peer is one address of a provider.
type Peer struct {
	Address          netip.AddrPort // not valid where a name stands
	Name             Name
	Entry            int // its place in trunks[].peers: a name may become several
	Transport        nat.Transport
	Weight, Priority int
}

// Probe is how a peer's health is found out with OPTIONS.
type Probe struct {
	Interval  time.Duration // 0: not at all
	Failures  int           // so many in a row: down
	Successes int           // so many in a row: up
	CRLF      bool          // only the way is kept open, by empty lines: nothing is asked, and nothing is found out
}

// Log is the program's log.
type Log struct {
	Level, Format, SecurityFile string
	SecuritySize                int64 // bytes at which the security file begins anew; 0: never
}

// Path is the file that was read, or "" if flags said everything.
func (s *Snapshot) Path() string { return s.path }

// Place says where a key was written, as errors do: "sbc.yaml:12:5: pbx.nodes[0]". Of a key that was not it names the
// nearest above.
func (s *Snapshot) Place(key string) string {
	return strings.TrimSuffix(s.from.problem(key, "", "").String(), ": ")
}

// Placed puts the place of the listener before each error that begins with an interface's name; before others the file.
func (s *Snapshot) Placed(err error) error {
	var out []error
	for _, e := range parts(err) {
		where := s.path
		for i := range s.Interfaces {
			if f := &s.Interfaces[i]; strings.HasPrefix(e.Error(), f.String()+": ") {
				where = s.Place(f.Side.String() + "." + f.Realm.String() + "." + f.Transport.String())
			}
		}
		if where != "" {
			e = fmt.Errorf("%s: %w", where, e)
		}
		out = append(out, e)
	}
	return errors.Join(out...)
}
