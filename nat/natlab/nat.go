package natlab

import (
	"math/rand/v2"
	"net/netip"
	"time"
)

// Behaviour is how much of a remote endpoint a NAT box tells apart, for its mapping (RFC 4787 §4.1) or its filter (§5).
type Behaviour uint8

// The behaviours.
const (
	EndpointIndependent Behaviour = iota
	AddressDependent
	AddressAndPortDependent
)

// String is the behaviour's name in RFC 4787.
func (b Behaviour) String() string {
	return [...]string{"endpoint-independent", "address-dependent", "address-and-port-dependent"}[b]
}

// covers reports whether a behaviour takes two remotes for one.
func (b Behaviour) covers(known, remote netip.AddrPort) bool { return b.key(known) == b.key(remote) }

// key is what a behaviour sees of a remote.
func (b Behaviour) key(remote netip.AddrPort) netip.AddrPort {
	switch b {
	case EndpointIndependent:
		return netip.AddrPort{}
	case AddressDependent:
		return netip.AddrPortFrom(remote.Addr(), 0)
	default:
		return remote
	}
}

// NATOptions say what kind of NAT a box is. The zero value is the friendliest one: endpoint-independent in both ("full
// cone"), 30 s of memory for UDP, random ports.
type NATOptions struct {
	Mapping, Filtering Behaviour

	// UDPTimeout is how long a session outlives the last datagram that refreshed it. 0: 30 s, as in many home routers;
	// RFC 4787 REQ-5 asks for two minutes.
	UDPTimeout time.Duration
	// StreamTimeout is the same for connections. 0: 2 h 4 min (RFC 5382 REQ-5). Once both ends have said goodbye it is
	// four minutes at most.
	StreamTimeout time.Duration
	// RefreshInbound makes a datagram that comes in refresh its session as well; RFC 4787 REQ-6 asks only for those that
	// go out, and many boxes do no more. Connections are refreshed from both sides.
	RefreshInbound bool

	PreservePorts bool      // the private port where it is free (RFC 4787 §4.2.1)
	Parity        bool      // an even port for an even one (RFC 4787 REQ-4)
	Ports         [2]uint16 // first and last public port; zero: 1024 to 65535
	Hairpin       bool      // hosts inside reach each other by their public endpoints (RFC 4787 REQ-9, external source)

	// ResetUnknown answers segments of connections that the box does not know with a reset, towards both sides. By
	// default they vanish, and both ends believe in a connection that is dead.
	ResetUnknown bool

	// ALG edits the payload of datagrams that pass; nil: none. See SIPALG. Streams pass as they are.
	ALG ALG
}

// Kinds are the nine kinds of RFC 4787, mapping × filtering, otherwise with the zero options.
func Kinds() (all []NATOptions) {
	for m := EndpointIndependent; m <= AddressAndPortDependent; m++ {
		for f := EndpointIndependent; f <= AddressAndPortDependent; f++ {
			all = append(all, NATOptions{Mapping: m, Filtering: f})
		}
	}
	return all
}

// String names the kind: mapping/filtering.
func (o NATOptions) String() string { return o.Mapping.String() + "/" + o.Filtering.String() }

// The defaults of NATOptions.
const (
	defaultUDPTimeout    = 30 * time.Second
	defaultStreamTimeout = 2*time.Hour + 4*time.Minute
	closingTimeout       = 4 * time.Minute // RFC 5382 REQ-5: "transitory"
	firstMapped          = 1024
)

// NAT is a box with one address outside and a network of its own inside. Private hosts reach each other, and the box,
// without impairments; what crosses the public network has the box's public address there, so that is the address for
// Network.Impair.
type NAT struct {
	net    *Network
	up     uplink
	around lan // where the public address lives
	inside lan
	opt    NATOptions
	rng    *rand.Rand

	// Under the network's lock:
	public netip.Addr
	tables [2]table // of datagrams, of streams
}

// NAT puts a box on the public network. It panics where the address is taken.
func (n *Network) NAT(public netip.Addr, o NATOptions) *NAT {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.box(n.public, n, public, o)
}

// NAT puts a box behind this one, as a carrier does (RFC 6888): its public address is private here.
func (b *NAT) NAT(public netip.Addr, o NATOptions) *NAT {
	b.net.mu.Lock()
	defer b.net.mu.Unlock()
	return b.net.box(b.inside, b, public, o)
}

func (n *Network) box(around lan, up uplink, public netip.Addr, o NATOptions) *NAT {
	if around[public] != nil {
		panic("natlab: " + public.String() + " is taken: give the NAT box another address")
	}
	if o.UDPTimeout <= 0 {
		o.UDPTimeout = defaultUDPTimeout
	}
	if o.StreamTimeout <= 0 {
		o.StreamTimeout = defaultStreamTimeout
	}
	if o.Ports[0] == 0 {
		o.Ports[0] = firstMapped
	}
	if o.Ports[1] == 0 {
		o.Ports[1] = 65535
	}
	b := &NAT{
		net: n, up: up, around: around, inside: make(lan), opt: o, public: public,
		rng: rand.New(rand.NewPCG(n.seed, route{from: public}.hash())),
	}
	for i := range b.tables {
		b.tables[i].reset()
	}
	around[public] = b
	return b
}

// Host returns the private host of an address, which it creates at the first call. Other boxes may have hosts of the
// same address.
func (b *NAT) Host(private netip.Addr) *Host {
	b.net.mu.Lock()
	defer b.net.mu.Unlock()
	return b.net.host(b.inside, b, private)
}

// Addr is the public address.
func (b *NAT) Addr() netip.Addr {
	b.net.mu.Lock()
	defer b.net.mu.Unlock()
	return b.public
}

// Forget drops every mapping, as a box that loses its power does. The next datagram from inside makes a new one, at the
// same port if PreservePorts finds it free; streams are dead.
func (b *NAT) Forget() {
	b.net.mu.Lock()
	defer b.net.mu.Unlock()
	for i := range b.tables {
		b.tables[i].reset()
	}
}

// Rebind is Forget, and no mapping made from now on has a port that was in use just before.
func (b *NAT) Rebind() {
	b.net.mu.Lock()
	defer b.net.mu.Unlock()
	for i := range b.tables {
		b.tables[i].rebind()
	}
}

// Renumber gives the box another public address, as a provider does by night: it forgets everything and the old address
// answers nothing. It panics where the address is taken.
func (b *NAT) Renumber(public netip.Addr) {
	b.net.mu.Lock()
	defer b.net.mu.Unlock()
	if b.around[public] != nil {
		panic("natlab: " + public.String() + " is taken: give the NAT box another address")
	}
	delete(b.around, b.public)
	b.public, b.around[public] = public, b
	for i := range b.tables {
		b.tables[i].reset()
	}
}

// Mapped is the public endpoint that stands for a private UDP endpoint towards a remote now.
func (b *NAT) Mapped(private, remote netip.AddrPort) (netip.AddrPort, bool) {
	return b.mapped(&b.tables[0], private, remote)
}

// MappedStream is the same for streams.
func (b *NAT) MappedStream(private, remote netip.AddrPort) (netip.AddrPort, bool) {
	return b.mapped(&b.tables[1], private, remote)
}

func (b *NAT) mapped(t *table, private, remote netip.AddrPort) (netip.AddrPort, bool) {
	b.net.mu.Lock()
	defer b.net.mu.Unlock()
	m := t.find(b.net.now(), inner{private, b.opt.Mapping.key(remote)})
	if m == nil {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(b.public, m.port), true
}

// Mappings is how many mappings live.
func (b *NAT) Mappings() (datagrams, streams int) {
	b.net.mu.Lock()
	defer b.net.mu.Unlock()
	now := b.net.now()
	for i, count := range []*int{&datagrams, &streams} {
		b.tables[i].sweep(now)
		*count = len(b.tables[i].ports)
	}
	return datagrams, streams
}
