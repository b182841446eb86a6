package demo

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// Addresses are where the demonstration lives.
type Addresses struct {
	Outside       netip.AddrPort `json:"outside"` // the gate, towards the provider
	Inside        netip.AddrPort `json:"inside"`  // the gate, towards the PBX, for trunk calls
	OutsidePhones netip.AddrPort `json:"outside_phones"`
	InsidePhones  netip.AddrPort `json:"inside_phones"`
	Provider      netip.AddrPort `json:"provider"`
	PBX           netip.AddrPort `json:"pbx"`
	Phone         netip.Addr     `json:"phone"`       // where the phone's NAT shows it, under ever new ports
	PhoneHome     netip.AddrPort `json:"phone_home"`  // what the phone itself takes for its address
	Stranger      netip.Addr     `json:"stranger"`    // scans the trunks' port
	Scanner       netip.Addr     `json:"scanner"`     // scans the phones' port
	Media         [2]uint16      `json:"media_ports"` // first and last, on both sides of the gate
}

// usual are the addresses where nothing is in the way.
var usual = Addresses{
	Outside:       netip.MustParseAddrPort("127.0.0.10:5080"),
	Inside:        netip.MustParseAddrPort("127.0.0.20:5080"),
	OutsidePhones: netip.MustParseAddrPort("127.0.0.10:5060"),
	InsidePhones:  netip.MustParseAddrPort("127.0.0.20:5060"),
	Provider:      netip.MustParseAddrPort("127.0.0.40:5060"),
	PBX:           netip.MustParseAddrPort("127.0.0.30:5060"),
	Phone:         netip.MustParseAddr("127.0.0.50"),
	PhoneHome:     netip.MustParseAddrPort("192.168.77.20:5060"),
	Stranger:      netip.MustParseAddr("127.0.0.66"),
	Scanner:       netip.MustParseAddr("127.0.0.67"),
	Media:         [2]uint16{31000, 31099},
}

// sockets are those that the stand-ins keep.
type sockets struct{ provider, pbx, phone *net.UDPConn }

func (s *sockets) close() {
	for _, c := range []*net.UDPConn{s.provider, s.pbx, s.phone} {
		if c != nil {
			_ = c.Close()
		}
	}
}

// attempts is how many other ports are tried for each that is held.
const attempts = 16

// choose finds free ports and opens the stand-ins' sockets.
func choose(say func(string)) (a Addresses, s sockets, err error) {
	a = usual
	if s.provider, err = bind(&a.Provider, "the provider", say); err == nil {
		s.pbx, err = bind(&a.PBX, "the PBX", say)
	}
	if err == nil {
		s.phone, err = behindNAT(&a)
	}
	if err == nil {
		err = probe(&a, say)
	}
	if err != nil {
		s.close()
	}
	return a, s, err
}

// behindNAT opens a socket as a NAT does for the phone: at its public address, on a port that nobody knows beforehand.
func behindNAT(a *Addresses) (*net.UDPConn, error) {
	at := netip.AddrPortFrom(a.Phone, 0)
	return bind(&at, "the phone", func(string) {})
}

// probe finds ports for the gate, which opens them itself.
func probe(a *Addresses, say func(string)) error {
	for who, at := range map[string]*netip.AddrPort{
		"the gate outside": &a.Outside, "the gate inside": &a.Inside,
		"the gate outside for phones": &a.OutsidePhones, "the gate inside for phones": &a.InsidePhones,
	} {
		c, err := bind(at, who, say)
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }() // held until all are found: a port for trunks is none for phones
	}
	size := a.Media[1] - a.Media[0] + 1
	for range attempts {
		held := heldPort(a)
		if held == 0 {
			return nil
		}
		say(fmt.Sprintf("port %d is held by another program: the media ports are %d-%d instead of %d-%d", held, a.Media[0]+size,
			a.Media[1]+size, a.Media[0], a.Media[1]))
		a.Media[0], a.Media[1] = a.Media[0]+size, a.Media[1]+size
	}
	return fmt.Errorf("no %d free UDP ports in a row from %d on: end the programs that hold them (ss -ulnp)", size, usual.Media[0])
}

// heldPort is the first media port that another program holds; 0: all are free.
func heldPort(a *Addresses) uint16 {
	for port := a.Media[0]; port <= a.Media[1]; port++ {
		for _, at := range []netip.Addr{a.Outside.Addr(), a.Inside.Addr()} {
			c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, port)))
			if err != nil {
				return port
			}
			_ = c.Close()
		}
	}
	return 0
}

// bind opens a socket at an address, or at the next free port of it.
func bind(at *netip.AddrPort, who string, say func(string)) (*net.UDPConn, error) {
	first := *at
	for range attempts {
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(*at))
		switch {
		case err == nil:
			if *at != first {
				say(fmt.Sprintf("%s is held by another program: %s is at %s", first, who, at))
			}
			return c, nil
		case errors.Is(err, syscall.EADDRNOTAVAIL):
			return nil, fmt.Errorf("%w: the demonstration needs the addresses 127.0.0.10–67, which Linux has by itself; "+
				"on other systems give them to the loopback interface first", err)
		case !errors.Is(err, syscall.EADDRINUSE):
			return nil, err
		}
		*at = netip.AddrPortFrom(at.Addr(), at.Port()+10)
	}
	return nil, fmt.Errorf("no free UDP port for %s from %s on: end the programs that hold them (ss -ulnp)", who, first)
}
