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
	Outside  netip.AddrPort `json:"outside"` // the gate, towards the provider
	Inside   netip.AddrPort `json:"inside"`  // the gate, towards the PBX
	Provider netip.AddrPort `json:"provider"`
	PBX      netip.AddrPort `json:"pbx"`
	Stranger netip.Addr     `json:"stranger"`
	Media    [2]uint16      `json:"media_ports"` // first and last, on both sides of the gate
}

// usual are the addresses where nothing is in the way.
var usual = Addresses{
	Outside:  netip.MustParseAddrPort("127.0.0.10:5080"),
	Inside:   netip.MustParseAddrPort("127.0.0.20:5080"),
	Provider: netip.MustParseAddrPort("127.0.0.40:5060"),
	PBX:      netip.MustParseAddrPort("127.0.0.30:5060"),
	Stranger: netip.MustParseAddr("127.0.0.66"),
	Media:    [2]uint16{31000, 31099},
}

// sockets are those that the stand-ins keep.
type sockets struct{ provider, pbx *net.UDPConn }

// attempts is how many other ports are tried for each that is held.
const attempts = 16

// choose finds free ports and opens the stand-ins' sockets.
func choose(say func(string)) (a Addresses, s sockets, err error) {
	a = usual
	if s.provider, err = bind(&a.Provider, "the provider", say); err != nil {
		return a, s, err
	}
	if s.pbx, err = bind(&a.PBX, "the PBX", say); err == nil {
		err = probe(&a, say)
	}
	if err != nil {
		_ = s.provider.Close()
		if s.pbx != nil {
			_ = s.pbx.Close()
		}
	}
	return a, s, err
}

// probe finds ports for the gate, which opens them itself.
func probe(a *Addresses, say func(string)) error {
	for who, at := range map[string]*netip.AddrPort{"the gate outside": &a.Outside, "the gate inside": &a.Inside} {
		c, err := bind(at, who, say)
		if err != nil {
			return err
		}
		_ = c.Close()
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
			return nil, fmt.Errorf("%w: the demonstration needs the addresses 127.0.0.10–66, which Linux has by itself; "+
				"on other systems give them to the loopback interface first", err)
		case !errors.Is(err, syscall.EADDRINUSE):
			return nil, err
		}
		*at = netip.AddrPortFrom(at.Addr(), at.Port()+10)
	}
	return nil, fmt.Errorf("no free UDP port for %s from %s on: end the programs that hold them (ss -ulnp)", who, first)
}
