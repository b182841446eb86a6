package natlab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

var (
	publicAddr  = netip.MustParseAddr("203.0.113.7")
	carrierAddr = netip.MustParseAddr("203.0.113.99")
	homeAddr    = netip.MustParseAddr("192.168.1.10")
	home2Addr   = netip.MustParseAddr("192.168.1.11")
)

// natted runs f in a bubble with a box, a phone behind it, and remotes: A has two sockets, B one.
func natted(t *testing.T, o NATOptions, f func(t *testing.T, h *home)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := &home{Network: New(Options{Seed: 5}), t: t}
		defer h.Close()
		h.box = h.NAT(publicAddr, o)
		h.phone = listen(t, h.box.Host(homeAddr), 5060)
		h.a1, h.a2 = listen(t, h.Host(addrA), 1001), listen(t, h.Host(addrA), 1002)
		h.b1 = listen(t, h.Host(addrB), 1001)
		f(t, h)
		checkSum(t, h.Network)
	})
}

type home struct {
	*Network
	t          *testing.T
	box        *NAT
	phone      *PacketConn
	a1, a2, b1 *PacketConn
}

// from is the source that a socket sees of the next datagram; it reports false if none comes at once.
func from(t *testing.T, c *PacketConn) (netip.AddrPort, bool) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(time.Nanosecond))
	_, src, err := c.ReadFromUDPAddrPort(make([]byte, 2000))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return netip.AddrPort{}, false
	}
	if err != nil {
		t.Fatal(err)
	}
	return src, true
}

// mapped sends from the phone's socket to a remote and returns what that sees.
func (h *home) mapped(phone, remote *PacketConn) netip.AddrPort {
	h.t.Helper()
	write(h.t, phone, addrOf(remote), []byte("out"))
	src, ok := from(h.t, remote)
	if !ok {
		h.t.Fatalf("nothing of %v came to %v", phone.local, remote.local)
	}
	return src
}

// reaches sends from a remote to a public endpoint and reports whether the phone hears it, unchanged.
func (h *home) reaches(remote *PacketConn, public netip.AddrPort, phone *PacketConn) bool {
	h.t.Helper()
	write(h.t, remote, public, []byte("in"))
	src, ok := from(h.t, phone)
	if ok && src != addrOf(remote) {
		h.t.Errorf("the phone sees %v, sent by %v", src, remote.local)
	}
	return ok
}

// RFC 4787 §4.1 and §5, every combination: the same public endpoint for whom, and who gets in.
func TestKinds(t *testing.T) {
	const ei, ad, apd = EndpointIndependent, AddressDependent, AddressAndPortDependent
	type passes struct{ spoken, otherPort, otherAddress bool }
	mapping := map[Behaviour]passes{ei: {true, true, true}, ad: {true, true, false}, apd: {true, false, false}}
	filtering := map[Behaviour]passes{ei: {true, true, true}, ad: {true, true, false}, apd: {true, false, false}}
	kinds := Kinds()
	if len(kinds) != 9 {
		t.Fatalf("%d kinds", len(kinds))
	}
	for _, o := range kinds {
		t.Run(o.String(), func(t *testing.T) {
			natted(t, o, func(t *testing.T, h *home) {
				first := h.mapped(h.phone, h.a1)
				in := filtering[o.Filtering]
				for _, c := range []struct {
					who  *PacketConn
					want bool
				}{{h.a1, in.spoken}, {h.a2, in.otherPort}, {h.b1, in.otherAddress}} {
					if got := h.reaches(c.who, first, h.phone); got != c.want {
						t.Errorf("inbound from %v: %v, want %v", c.who.local, got, c.want)
					}
				}
				same := mapping[o.Mapping]
				for _, c := range []struct {
					who  *PacketConn
					want bool
				}{{h.a1, same.spoken}, {h.a2, same.otherPort}, {h.b1, same.otherAddress}} {
					if got := h.mapped(h.phone, c.who); (got == first) != c.want || got.Addr() != publicAddr {
						t.Errorf("to %v from %v, the first was %v", c.who.local, got, first)
					}
				}
				// Having been spoken to, all get in where their own mapping is.
				for _, who := range []*PacketConn{h.a1, h.a2, h.b1} {
					public, ok := h.box.Mapped(addrOf(h.phone), addrOf(who))
					if !ok || !h.reaches(who, public, h.phone) {
						t.Errorf("%v is shut out of %v", who.local, public)
					}
				}
			})
		})
	}
}

func TestNobodyReachesAPortWithoutMapping(t *testing.T) {
	natted(t, NATOptions{}, func(t *testing.T, h *home) {
		h.Host(addrA).ReceiveErrors(true)
		for port := uint16(5055); port < 5066; port++ {
			if h.reaches(h.a1, netip.AddrPortFrom(publicAddr, port), h.phone) {
				t.Errorf("port %d is open", port)
			}
		}
		if _, ok := from(t, h.a1); ok {
			t.Error("the box answered")
		}
		if c := h.Counters(); c.Filtered != 11 || c.ICMP != 0 {
			t.Errorf("counters %+v", c)
		}
		if u, s := h.box.Mappings(); u+s != 0 {
			t.Errorf("%d mappings from outside", u+s)
		}
	})
}

// RFC 4787 §4.3: who keeps a mapping alive, and for how long.
func TestTimeouts(t *testing.T) {
	for _, c := range []struct {
		name    string
		o       NATOptions
		refresh string // who speaks every 20 s for five minutes
		wait    time.Duration
		alive   bool
	}{
		{"just before 30 s", NATOptions{}, "", 30*time.Second - 1, true},
		{"at 30 s", NATOptions{}, "", 30 * time.Second, false},
		{"as set", NATOptions{UDPTimeout: 2 * time.Minute}, "", 2*time.Minute - 1, true},
		{"as set, over", NATOptions{UDPTimeout: 2 * time.Minute}, "", 2 * time.Minute, false},
		{"REQ-6: outbound refreshes", NATOptions{}, "out", 29 * time.Second, true},
		{"inbound does not", NATOptions{}, "in", 0, false},
		{"inbound does where set", NATOptions{RefreshInbound: true}, "in", 29 * time.Second, true},
		{"a stranger does not", NATOptions{Filtering: AddressAndPortDependent, RefreshInbound: true}, "stranger", 0, false},
		{"answers do", NATOptions{}, "both", 29 * time.Second, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			natted(t, c.o, func(t *testing.T, h *home) {
				public := h.mapped(h.phone, h.a1)
				for range 15 {
					if c.refresh == "" {
						break
					}
					time.Sleep(20 * time.Second)
					if c.refresh == "in" || c.refresh == "both" {
						h.reaches(h.a1, public, h.phone)
					}
					if c.refresh == "stranger" {
						h.reaches(h.b1, public, h.phone)
					}
					if c.refresh == "out" || c.refresh == "both" {
						h.mapped(h.phone, h.a1)
					}
				}
				time.Sleep(c.wait)
				if got := h.reaches(h.a1, public, h.phone); got != c.alive {
					t.Errorf("alive: %v", got)
				}
				if _, ok := h.box.Mapped(addrOf(h.phone), addrOf(h.a1)); ok != c.alive {
					t.Errorf("mapped: %v", ok)
				}
			})
		})
	}
}

// Each remote has a time of its own: one that the phone no longer speaks to is shut out again.
func TestFilterForgetsEachRemote(t *testing.T) {
	natted(t, NATOptions{Filtering: AddressDependent}, func(t *testing.T, h *home) {
		public := h.mapped(h.phone, h.a1)
		for range 4 {
			time.Sleep(20 * time.Second)
			h.mapped(h.phone, h.b1)
		}
		if !h.reaches(h.b1, public, h.phone) || h.reaches(h.a1, public, h.phone) || h.reaches(h.a2, public, h.phone) {
			t.Error("want B in and A out")
		}
		if again := h.mapped(h.phone, h.a1); again != public {
			t.Errorf("another port, %v, while the mapping lives", again)
		}
	})
}

func TestPublicPorts(t *testing.T) {
	natted(t, NATOptions{}, func(t *testing.T, h *home) {
		seen := make(map[netip.AddrPort]bool)
		for port := uint16(2000); port < 2200; port++ {
			seen[h.mapped(listen(t, h.box.Host(homeAddr), port), h.a1)] = true
		}
		if len(seen) != 200 { // REQ-3: no overloading
			t.Errorf("%d endpoints for 200 sockets", len(seen))
		}
	})
	natted(t, NATOptions{PreservePorts: true, Parity: true}, func(t *testing.T, h *home) {
		if got := h.mapped(h.phone, h.a1); got.Port() != 5060 {
			t.Errorf("not preserved: %v", got)
		}
		other := listen(t, h.box.Host(home2Addr), 5060)
		if got := h.mapped(other, h.a1); got.Port() == 5060 || got.Port()%2 != 0 {
			t.Errorf("the second one got %v", got)
		}
		odd := listen(t, h.box.Host(homeAddr), 4001)
		even := listen(t, h.box.Host(home2Addr), 4001)
		if p, q := h.mapped(odd, h.a1), h.mapped(even, h.a1); p.Port() != 4001 || q.Port()%2 != 1 {
			t.Errorf("odd ports became %v and %v", p, q)
		}
	})
	natted(t, NATOptions{Ports: [2]uint16{3000, 3001}}, func(t *testing.T, h *home) {
		h.mapped(h.phone, h.a1)
		h.mapped(listen(t, h.box.Host(homeAddr), 1), h.a1)
		write(t, listen(t, h.box.Host(homeAddr), 2), addrOf(h.a1), []byte("x"))
		if _, ok := from(t, h.a1); ok || h.Counters().Filtered != 1 {
			t.Error("a third socket on two ports")
		}
		time.Sleep(time.Minute) // they expire
		h.mapped(listen(t, h.box.Host(homeAddr), 3), h.a1)
	})
}

// RFC 4787 REQ-9: two phones of one home meet by their public endpoints, each seen as external, or not at all.
func TestHairpin(t *testing.T) {
	for _, o := range Kinds() {
		for _, hairpin := range []bool{false, true} {
			t.Run(fmt.Sprint(o, " ", hairpin), func(t *testing.T) {
				o.Hairpin = hairpin
				natted(t, o, func(t *testing.T, h *home) {
					other := listen(t, h.box.Host(home2Addr), 5060)
					public, public2 := h.mapped(h.phone, h.a1), h.mapped(other, h.a1)
					write(t, h.phone, public2, []byte("x"))
					src, ok := from(t, other)
					// The phone's external address has not been spoken to.
					if want := hairpin && o.Filtering == EndpointIndependent; ok != want {
						t.Fatalf("heard: %v, want %v", ok, want)
					}
					if ok && src.Addr() != publicAddr {
						t.Errorf("seen as %v", src)
					}
					// Both speak: a filter opens where they do so from the endpoints that each other knows.
					write(t, other, public, []byte("x"))
					_, _ = from(t, h.phone)
					write(t, h.phone, public2, []byte("x"))
					_, ok = from(t, other)
					known := o.Filtering == EndpointIndependent || o.Mapping == EndpointIndependent
					if want := hairpin && known; ok != want {
						t.Errorf("heard after speaking: %v, want %v", ok, want)
					}
				})
			})
		}
	}
	natted(t, NATOptions{}, func(t *testing.T, h *home) {
		other := listen(t, h.box.Host(home2Addr), 5060)
		write(t, h.phone, addrOf(other), []byte("x"))
		if src, ok := from(t, other); !ok || src != addrOf(h.phone) {
			t.Errorf("within the home: %v, %v", src, ok)
		}
	})
}

func TestForgetRebindRenumber(t *testing.T) {
	moved := netip.MustParseAddr("203.0.113.8")
	for _, c := range []struct {
		name string
		do   func(b *NAT)
		same bool
		addr netip.Addr
	}{
		{"forget", (*NAT).Forget, true, publicAddr},
		{"rebind", (*NAT).Rebind, false, publicAddr},
		{"renumber", func(b *NAT) { b.Renumber(moved) }, true, moved},
	} {
		t.Run(c.name, func(t *testing.T) {
			natted(t, NATOptions{PreservePorts: true}, func(t *testing.T, h *home) {
				before := h.mapped(h.phone, h.a1)
				c.do(h.box)
				if h.reaches(h.a1, before, h.phone) {
					t.Error("the old mapping lives")
				}
				after := h.mapped(h.phone, h.a1)
				if after.Addr() != c.addr || h.box.Addr() != c.addr || (after.Port() == before.Port()) != c.same {
					t.Errorf("%v became %v", before, after)
				}
				if !h.reaches(h.a1, after, h.phone) {
					t.Error("the new mapping is dead")
				}
				if after != before && h.reaches(h.a1, before, h.phone) {
					t.Error("the old endpoint lives")
				}
			})
		})
	}
}

func TestOneAddressInTwoHomes(t *testing.T) {
	natted(t, NATOptions{PreservePorts: true}, func(t *testing.T, h *home) {
		neighbour := h.NAT(addrC, NATOptions{PreservePorts: true})
		twin := listen(t, neighbour.Host(homeAddr), 5060)
		if p, q := h.mapped(h.phone, h.a1), h.mapped(twin, h.a1); p.Addr() == q.Addr() {
			t.Errorf("%v and %v", p, q)
		}
		if there, again := neighbour.Host(homeAddr), neighbour.Host(homeAddr); there != again || there == h.box.Host(homeAddr) {
			t.Error("an address is one host in its home")
		}
	})
}

// RFC 6888: homes behind a carrier's box, of any kinds.
func TestCarrierGradeNAT(t *testing.T) {
	for _, carrier := range Kinds() {
		for _, o := range Kinds() {
			natted(t, NATOptions{}, func(t *testing.T, h *home) {
				carrier.Hairpin = true
				cgn := h.NAT(carrierAddr, carrier)
				var phones []*PacketConn
				for _, wan := range []string{"100.64.0.1", "100.64.0.2"} {
					phones = append(phones, listen(t, cgn.NAT(netip.MustParseAddr(wan), o).Host(homeAddr), 5060))
				}
				p, q := h.mapped(phones[0], h.a1), h.mapped(phones[1], h.a1)
				if p.Addr() != carrierAddr || q.Addr() != carrierAddr || p == q {
					t.Errorf("%v and %v", p, q)
				}
				if !h.reaches(h.a1, p, phones[0]) || !h.reaches(h.a1, q, phones[1]) {
					t.Error("answers do not come through both boxes")
				}
				strict := max(carrier.Filtering, o.Filtering)
				if h.reaches(h.a2, p, phones[0]) != (strict < AddressAndPortDependent) ||
					h.reaches(h.b1, p, phones[0]) != (strict == EndpointIndependent) {
					t.Errorf("the stricter of both does not decide: %v behind %v", o, carrier)
				}
				write(t, phones[0], q, []byte("x"))
				if _, ok := from(t, phones[1]); ok != (strict == EndpointIndependent) {
					t.Errorf("hairpin at the carrier: %v, %v behind %v", ok, o, carrier)
				}
			})
		}
	}
}

// ICMP finds its way to who sent the datagram, makes no mapping and keeps none alive (RFC 4787 REQ-10, RFC 5508).
func TestICMPThroughNAT(t *testing.T) {
	natted(t, NATOptions{Filtering: AddressAndPortDependent}, func(t *testing.T, h *home) {
		h.box.Host(homeAddr).ReceiveErrors(true)
		h.Host(addrA).ReceiveErrors(true)
		shut := netip.AddrPortFrom(addrA, 9)
		write(t, h.phone, shut, []byte("x"))
		var icmp *ICMPError
		if _, _, err := h.phone.ReadFromUDPAddrPort(make([]byte, 9)); !errors.As(err, &icmp) || icmp.Remote != shut {
			t.Fatalf("%v", err)
		}
		gone := listen(t, h.box.Host(homeAddr), 7000)
		public := h.mapped(gone, h.a1)
		_ = gone.Close()
		write(t, h.a1, public, []byte("x"))
		if _, _, err := h.a1.ReadFromUDPAddrPort(make([]byte, 9)); !errors.As(err, &icmp) || icmp.Remote != public {
			t.Fatalf("%v", err)
		}
		time.Sleep(time.Minute)
		h.box.forward(&packet{src: addrOf(h.phone), dst: addrOf(h.a1), icmp: true})
		if u, _ := h.box.Mappings(); u != 0 {
			t.Errorf("%d mappings", u)
		}
	})
}

func TestImpairmentsApplyBehindTheBox(t *testing.T) {
	natted(t, NATOptions{}, func(t *testing.T, h *home) {
		h.mapped(h.phone, h.a1)
		h.Impair(publicAddr, addrA, Link{Delay: time.Second})
		write(t, h.phone, addrOf(h.a1), []byte("x"))
		start := time.Now()
		_ = h.a1.SetReadDeadline(time.Time{})
		if _, _, err := h.a1.ReadFromUDPAddrPort(make([]byte, 9)); err != nil || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		h.Impair(publicAddr, addrA, Link{Loss: 1})
		write(t, h.phone, addrOf(h.a1), []byte("x"))
		if c := h.Counters(); c.Lost != 1 {
			t.Errorf("counters %+v", c)
		}
		var seen []Datagram
		h.Observe(func(d Datagram) { seen = append(seen, d) })
		write(t, h.phone, addrOf(h.a1), []byte("x"))
		if len(seen) != 1 || seen[0].Src.Addr() != publicAddr {
			t.Errorf("the observer saw %+v", seen)
		}
	})
}

func TestTakenAddresses(t *testing.T) {
	natted(t, NATOptions{}, func(t *testing.T, h *home) {
		for name, do := range map[string]func(){
			"box on a host":     func() { h.NAT(addrA, NATOptions{}) },
			"box on a box":      func() { h.NAT(publicAddr, NATOptions{}) },
			"host on a box":     func() { h.Host(publicAddr) },
			"renumbered onto A": func() { h.box.Renumber(addrA) },
		} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%s: no panic", name)
					}
				}()
				do()
			}()
		}
		if _, err := h.box.Host(homeAddr).ListenUDP(5060); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("a lock stays held, or %v", err)
		}
	})
}
