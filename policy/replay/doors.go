package replay

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"sallyport/nat"
	"sallyport/policy"
)

// Setup is a configuration that a capture runs through: what the guard works by, and what the rooms behind it would tell it by.
type Setup struct {
	Name       string // of its file, for titles
	Config     *policy.Config
	Data       policy.Data
	Peers      []policy.Peer
	Interfaces []nat.Interface

	AoR       func(user, host string) string // the address-of-record that a From or To means; "": of no domain that is served; nil: as it stands
	Reachable func(uri string) bool          // whether who is not registered may ask for that; nil: for anybody
	Grace     time.Duration                  // for how long a binding outlives what its phone was told
	Throttled bool                           // the program itself answers refreshes of phones

	sizes policy.Sizes // of the guard's tables; zero: those of the program
}

// Opener opens a capture anew: it is read more than once.
type Opener func() (io.ReadCloser, error)

// each reads a capture and hands its messages to f until f says that it has seen enough.
func (o Opener) each(f func(*Message) (more bool)) (Facts, error) {
	file, err := o()
	if err != nil {
		return Facts{}, err
	}
	defer file.Close()
	c, err := Open(file)
	if err != nil {
		return Facts{}, err
	}
	var m Message
	for c.Next(&m) == nil && f(&m) {
	}
	return c.Facts(), nil
}

// endpoint is an address and port of a transport.
type endpoint struct {
	at        netip.AddrPort
	transport nat.Transport
}

// doors tell what came to the program and what it sent.
type doors struct {
	own     map[endpoint]*nat.Interface
	guessed []*nat.Interface
}

func newDoors(interfaces []nat.Interface) doors {
	d := doors{own: map[endpoint]*nat.Interface{}}
	for i := range interfaces {
		d.add(&interfaces[i])
	}
	return d
}

func (d *doors) add(i *nat.Interface) {
	// Behind a 1:1 NAT a capture shows one address or the other.
	for _, at := range []netip.AddrPort{i.Bind, i.Advertised} {
		if e := (endpoint{at, i.Transport}); at.IsValid() && d.own[e] == nil {
			d.own[e] = i
		}
	}
}

// way is what a message is to the program.
type way uint8

const (
	elsewhere way = iota
	received
	sent
)

// find tells through which door a message went, and which way.
func (d *doors) find(m *Message) (*nat.Interface, way) {
	if i := d.own[endpoint{m.Destination, m.Transport}]; i != nil {
		return i, received
	}
	if i := d.own[endpoint{m.Source, m.Transport}]; i != nil {
		return i, sent
	}
	switch i := m.Listener; {
	case i == nil:
		return nil, elsewhere
	case m.Destination == i.Bind:
		return i, received
	default:
		return i, sent
	}
}

// The bounds of a survey.
const (
	candidatesMost = 4096
	peersMost      = 64 // of one candidate
	guessesMost    = 8
)

// candidate is an address and port that requests were sent to.
type candidate struct {
	peers     map[netip.Addr]struct{}
	registers bool // phones register with registrars, never the other way
}

// guess looks through a capture in which no listener of the configuration occurs, for what must have been the listeners:
// who was registered with, or who was asked by most.
func guess(open Opener, s *Setup) (doors, error) {
	d := newDoors(s.Interfaces)
	ports := map[uint16]nat.Realm{5060: nat.Phones, 5061: nat.Phones, 5080: nat.Trunks, 5081: nat.Trunks}
	for i := range s.Interfaces {
		if f := &s.Interfaces[i]; f.Side == nat.Outside {
			ports[f.Bind.Port()] = f.Realm
		}
	}
	found, known := map[endpoint]*candidate{}, false
	_, err := open.each(func(m *Message) bool {
		if _, w := d.find(m); w != elsewhere {
			known = true
			return false
		}
		if _, likely := ports[m.Destination.Port()]; likely && startsMessage(m.Data) && !strings.HasPrefix(string(m.Data[:min(4, len(m.Data))]), "SIP/") {
			note(found, m)
		}
		return true
	})
	if err != nil || known {
		return d, err
	}
	for _, e := range pick(found, s.isNode) {
		i := &nat.Interface{
			ID: uint16(len(d.guessed)), Side: nat.Outside, Realm: ports[e.at.Port()], Transport: e.transport, Bind: e.at, Advertised: e.at,
		}
		d.guessed = append(d.guessed, i)
		d.add(i)
	}
	return d, nil
}

func note(found map[endpoint]*candidate, m *Message) {
	e := endpoint{m.Destination, m.Transport}
	c := found[e]
	if c == nil {
		if len(found) >= candidatesMost {
			return
		}
		c = &candidate{peers: map[netip.Addr]struct{}{}}
		found[e] = c
	}
	if len(c.peers) < peersMost {
		c.peers[m.Source.Addr()] = struct{}{}
	}
	c.registers = c.registers || strings.HasPrefix(string(m.Data), "REGISTER ")
}

// isNode reports whether an address is the PBX's.
func (s *Setup) isNode(a netip.Addr) bool {
	return slices.ContainsFunc(s.Peers, func(p policy.Peer) bool { return p.Kind == policy.Node && p.Prefix.Contains(a) })
}

// pick chooses the likeliest candidates: of the addresses that were registered with, or else the one asked by most, all
// ports. The PBX itself is one where nobody stands before it.
func pick(found map[endpoint]*candidate, isNode func(netip.Addr) bool) (chosen []endpoint) {
	order := slices.SortedFunc(maps.Keys(found), func(a, b endpoint) int {
		return cmp.Or(cmp.Compare(len(found[b].peers), len(found[a].peers)), a.at.Compare(b.at), cmp.Compare(a.transport, b.transport))
	})
	gates := map[netip.Addr]bool{}
	for _, e := range order {
		if found[e].registers {
			gates[e.at.Addr()] = true
		}
	}
	before := maps.Clone(gates)
	maps.DeleteFunc(before, func(a netip.Addr, _ bool) bool { return isNode(a) })
	if len(before) > 0 {
		gates = before
	}
	if len(gates) == 0 && len(order) > 0 {
		gates[order[0].at.Addr()] = true
	}
	for _, e := range order {
		if gates[e.at.Addr()] && len(chosen) < guessesMost {
			chosen = append(chosen, e)
		}
	}
	return chosen
}

// note says what was guessed.
func (d *doors) note(name string) string {
	if len(d.guessed) == 0 {
		return ""
	}
	var list []string
	for _, i := range d.guessed {
		list = append(list, i.String())
	}
	return fmt.Sprintf("no message went to or came from a listener of %s; by their ports and requests these were taken for listeners: %s",
		name, strings.Join(list, ", "))
}

// errNothing is a capture in which nothing came to the program.
var errNothing = errors.New("no SIP message of the capture went to a listener\n" +
	"  hint: capture where the listeners are, with tcpdump -i any -s 0 -w FILE 'port 5060 or port 5080', or give the configuration of the machine that it is of with --config")
