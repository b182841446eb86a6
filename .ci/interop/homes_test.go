//go:build interop

package interop

import (
	"net"
	"net/netip"
	"testing"
)

// The internet's other networks are TEST-NET-2 (RFC 5737), one a router; both homes use the same private network, as homes
// do.
const (
	public1  = "198.51.100.7"  // what the world sees of the first home
	renewed1 = "198.51.100.8"  // and what it sees after the provider has renumbered it
	public2  = "198.51.100.71" // the second home
	desk     = "10.0.0.12"     // a phone in the office, beside the PBX
	domain   = "example.com"
)

// extension is a subscriber of the PBX: his user part, and the host he uses at home.
type extension struct{ user, ns, address string }

// The subscribers. anna and bert share a router, cora has her own.
var (
	anna = extension{"201", "anna", "192.168.1.11"}
	bert = extension{"202", "bert", "192.168.1.12"}
	cora = extension{"203", "cora", "192.168.1.13"}
)

func (x extension) aor() string      { return x.user + "@" + domain }
func (x extension) password() string { return "secret" + x.user }

// router is a NAT between the internet and a home: Linux's masquerading, which maps address and port for each destination
// (RFC 4787 §4.1), lets in only who was sent to (§5), and here takes another port for every mapping.
type router struct {
	name, public, gateway, prefix string
	homes                         []extension
}

var routers = []router{
	{"nat1", public1, "198.51.100.1", "26", []extension{anna, bert}},
	{"nat2", public2, "198.51.100.65", "26", []extension{cora}},
}

const homeGateway = "192.168.1.1"

func init() {
	for _, a := range []string{public1, renewed1, public2} {
		home[a] = nsOutside
	}
	for _, x := range []extension{anna, bert, cora} {
		home[x.address] = x.ns
	}
	home[desk] = nsInside
	far[nsOutside] = append(far[nsOutside], "kamailio", "DeskProduct")
	far[nsInside] = append(far[nsInside], "198.51.100.", "192.168.1.", "PhoneProduct", "baresip", "Linphone")
}

// newHomes is a world with two homes behind routers of their own.
func newHomes(t *testing.T) *world {
	t.Helper()
	if missing := lacking([]string{"kamailio", "nft", "baresip", "linphonec"}); missing != "" {
		t.Fatalf("%s is missing: make interop installs it", missing)
	}
	w := newWorld(t)
	w.certificates(t)
	w.in(t, nsInside, "ip", "address", "add", desk+"/24", "dev", nsInside)
	w.in(t, nsOutside, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
	w.in(t, nsGate, "ip", "route", "add", "198.51.100.0/24", "via", provider)
	for _, r := range routers {
		w.router(t, r)
	}
	return w
}

// router makes a router and the hosts behind it.
func (w *world) router(t *testing.T, r router) {
	t.Helper()
	w.namespace(t, r.name)
	w.ip(t, "link", "add", r.name, "netns", w.ns(nsOutside), "type", "veth", "peer", "name", "wan", "netns", w.ns(r.name))
	w.in(t, nsOutside, "ip", "address", "add", r.gateway+"/"+r.prefix, "dev", r.name)
	w.in(t, nsOutside, "ip", "link", "set", r.name, "up")
	w.in(t, r.name, "ip", "link", "add", "lan", "type", "bridge")
	w.in(t, r.name, "ip", "address", "add", homeGateway+"/24", "dev", "lan")
	w.in(t, r.name, "ip", "link", "set", "lan", "up")
	w.in(t, r.name, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
	w.in(t, r.name, "nft", "add table ip nat; add chain ip nat out { type nat hook postrouting priority 100; };"+
		"add rule ip nat out oifname wan ip protocol { tcp, udp } masquerade to :20000-59999 random;"+
		"add rule ip nat out oifname wan masquerade")
	w.online(t, r.name, r.public)
	for _, x := range r.homes {
		w.namespace(t, x.ns)
		w.ip(t, "link", "add", x.ns, "netns", w.ns(x.ns), "type", "veth", "peer", "name", x.ns, "netns", w.ns(r.name))
		w.in(t, r.name, "ip", "link", "set", x.ns, "master", "lan", "up")
		w.in(t, x.ns, "ip", "address", "add", x.address+"/24", "dev", x.ns)
		w.in(t, x.ns, "ip", "link", "set", x.ns, "up")
		w.in(t, x.ns, "ip", "route", "add", "default", "via", homeGateway)
	}
}

func (w *world) namespace(t *testing.T, name string) {
	t.Helper()
	w.ip(t, "netns", "add", w.ns(name))
	w.in(t, name, "ip", "link", "set", "lo", "up")
}

// online dials a router in with an address of its network.
func (w *world) online(t *testing.T, name, address string) {
	t.Helper()
	for _, r := range routers {
		if r.name == name {
			w.in(t, name, "ip", "address", "add", address+"/"+r.prefix, "dev", "wan")
			w.in(t, name, "ip", "link", "set", "wan", "up")
			w.in(t, name, "ip", "route", "replace", "default", "via", r.gateway)
		}
	}
}

// reconnect takes a router off the net and dials it in again with the given address. The kernel forgets what a
// masquerading interface had mapped when its address goes: every phone behind it has lost its mappings.
func (w *world) reconnect(t *testing.T, name, address string) {
	t.Helper()
	w.in(t, name, "ip", "link", "set", "wan", "down")
	w.in(t, name, "ip", "address", "flush", "dev", "wan")
	w.online(t, name, address)
}

// forgetful sets how long a router remembers a UDP mapping over which nothing comes, in seconds.
func (w *world) forgetful(t *testing.T, name, seconds string) {
	t.Helper()
	w.in(t, name, "sh", "-c", "cd /proc/sys/net/netfilter && echo "+seconds+" >nf_conntrack_udp_timeout && echo "+seconds+" >nf_conntrack_udp_timeout_stream")
}

// dial connects from a namespace, by TCP, from an address of it or from any.
func (w *world) dial(t *testing.T, ns, source, address string) (conn *net.TCPConn, err error) {
	t.Helper()
	var local *net.TCPAddr
	if source != "" {
		local = &net.TCPAddr{IP: net.ParseIP(source)}
	}
	w.visit(t, ns, func() {
		conn, err = net.DialTCP("tcp4", local, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(address)))
	})
	return conn, err
}

// listen opens a TCP listener in a namespace.
func (w *world) listen(t *testing.T, ns, address string) *net.TCPListener {
	t.Helper()
	var l *net.TCPListener
	var err error
	w.visit(t, ns, func() { l, err = net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(netip.MustParseAddrPort(address))) })
	if err != nil {
		t.Fatalf("listen %s in %s: %v", address, ns, err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}
