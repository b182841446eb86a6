package natlab

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// spoken is one datagram that left a private socket.
type spoken struct {
	at              time.Time
	private, remote netip.AddrPort
	public          netip.AddrPort // as the remote saw it
}

// diary is the naive model: everything that was ever sent outwards, and nothing else.
type diary struct {
	o       NATOptions
	timeout time.Duration
	entries []spoken
}

func sameAs(b Behaviour, x, y netip.AddrPort) bool {
	switch b {
	case EndpointIndependent:
		return true
	case AddressDependent:
		return x.Addr() == y.Addr()
	default:
		return x == y
	}
}

// recent are the entries that a box still has in mind.
func (d *diary) recent(now time.Time) (live []spoken) {
	for _, e := range d.entries {
		if now.Sub(e.at) < d.timeout {
			live = append(live, e)
		}
	}
	return live
}

// hears says which private socket a datagram from a remote to a public endpoint reaches, by the words of RFC 4787 §4.1
// and §5; the zero AddrPort: none.
func (d *diary) hears(now time.Time, remote, public netip.AddrPort) netip.AddrPort {
	for _, e := range d.recent(now) {
		if e.public == public && sameAs(d.o.Filtering, e.remote, remote) {
			return e.private
		}
	}
	return netip.AddrPort{}
}

// expected is the public endpoint that must be used again; the zero AddrPort: a new one is due.
func (d *diary) expected(now time.Time, private, remote netip.AddrPort) netip.AddrPort {
	for _, e := range d.recent(now) {
		if e.private == private && sameAs(d.o.Mapping, e.remote, remote) {
			return e.public
		}
	}
	return netip.AddrPort{}
}

// No packet ever reaches a private host that may not by the definitions of mapping and filtering, each that may does,
// and the mapping is reused exactly as long as it must be.
func TestBoxDoesWhatItsKindSays(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		o := rapid.SampledFrom(Kinds()).Draw(rt, "kind")
		o.PreservePorts, o.Parity = rapid.Bool().Draw(rt, "preserve"), rapid.Bool().Draw(rt, "parity")
		o.Ports = [2]uint16{2000, 2063} // few, so that they are used again
		natted(t, o, func(t *testing.T, h *home) {
			d := &diary{o: o, timeout: defaultUDPTimeout}
			phones := []*PacketConn{
				h.phone, listen(t, h.box.Host(homeAddr), 5062), listen(t, h.box.Host(home2Addr), 5060),
			}
			remotes := []*PacketConn{h.a1, h.a2, h.b1}
			var known []netip.AddrPort
			for range rapid.IntRange(1, 60).Draw(rt, "steps") {
				switch rapid.IntRange(0, 4).Draw(rt, "what") {
				case 0:
					time.Sleep(time.Duration(rapid.IntRange(0, 40_000).Draw(rt, "ms")) * time.Millisecond)
				case 1, 2:
					known = append(known, d.speak(rt, h, pick(rt, phones), pick(rt, remotes)))
				default:
					public := netip.AddrPortFrom(publicAddr, rapid.Uint16Range(2000, 2063).Draw(rt, "port"))
					if len(known) > 0 && rapid.Bool().Draw(rt, "known") {
						public = rapid.SampledFrom(known).Draw(rt, "public")
					}
					d.knock(rt, h, pick(rt, remotes), public, phones)
				}
			}
		})
	})
}

func pick(rt *rapid.T, from []*PacketConn) *PacketConn {
	return from[rapid.IntRange(0, len(from)-1).Draw(rt, "which")]
}

// speak sends outwards and enters it.
func (d *diary) speak(rt *rapid.T, h *home, phone, remote *PacketConn) netip.AddrPort {
	now := time.Now()
	want := d.expected(now, addrOf(phone), addrOf(remote))
	public := h.mapped(phone, remote)
	if want.IsValid() && public != want {
		rt.Fatalf("%v to %v uses %v, want %v again", phone.local, remote.local, public, want)
	}
	for _, e := range d.recent(now) {
		if e.public == public && (e.private != addrOf(phone) || !sameAs(d.o.Mapping, e.remote, addrOf(remote))) {
			rt.Fatalf("%v is shared by %v to %v and %v to %v", public, e.private, e.remote, phone.local, remote.local)
		}
	}
	d.entries = append(d.entries, spoken{now, addrOf(phone), addrOf(remote), public})
	return public
}

// knock sends inwards and compares who hears.
func (d *diary) knock(rt *rapid.T, h *home, remote *PacketConn, public netip.AddrPort, phones []*PacketConn) {
	want := d.hears(time.Now(), addrOf(remote), public)
	write(h.t, remote, public, []byte("in"))
	for _, p := range phones {
		_, got := from(h.t, p)
		if got != (addrOf(p) == want) {
			rt.Fatalf("%v knocks at %v: %v hears: %v; want %v\n%s", remote.local, public, p.local, got, want, d)
		}
	}
}

// String is for failures.
func (d *diary) String() (s string) {
	for _, e := range slices.Backward(d.entries) {
		s += fmt.Sprintf("%v  %v -> %v as %v\n", e.at.Format("15:04:05.000"), e.private, e.remote, e.public)
	}
	return s
}
