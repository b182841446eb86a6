package replay

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"flag"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"sallyport/nat"
	"sallyport/policy"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var noon = time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC)

// The places of the tests.
const (
	gatePhones = "203.0.113.10:5060"
	gateTrunks = "203.0.113.10:5080"
	office     = "198.51.100.7"
	scanner    = "192.0.2.66"
	itsp       = "203.0.113.20"
	node       = "10.0.0.10:5060"
)

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// tape is a capture in the making. Its packets are kept as IP packets until it is written.
type tape struct {
	t       testing.TB
	now     time.Time
	packets []taped
	calls   int
	lasts   int // seconds that a registration is good for
}

type taped struct {
	at    time.Time
	ip    []byte
	cut   int // bytes that the snap length took away
	place int
}

func newTape(t testing.TB) *tape { return &tape{t: t, now: noon, lasts: 120} }

// wait lets time pass.
func (c *tape) wait(d time.Duration) *tape {
	c.now = c.now.Add(d)
	return c
}

func serialize(t testing.TB, parts ...gopacket.SerializableLayer) []byte {
	t.Helper()
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, parts...); err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(b.Bytes())
}

// network makes the IP header for a way.
func network(from, to netip.AddrPort, p layers.IPProtocol) (gopacket.SerializableLayer, gopacket.NetworkLayer) {
	if from.Addr().Is4() {
		ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: p, SrcIP: from.Addr().AsSlice(), DstIP: to.Addr().AsSlice()}
		return ip, ip
	}
	ip := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: p, SrcIP: from.Addr().AsSlice(), DstIP: to.Addr().AsSlice()}
	return ip, ip
}

// udp adds a datagram.
func (c *tape) udp(from, to string, data string) *tape {
	c.t.Helper()
	a, b := ap(from), ap(to)
	ip, n := network(a, b, layers.IPProtocolUDP)
	u := &layers.UDP{SrcPort: layers.UDPPort(a.Port()), DstPort: layers.UDPPort(b.Port())}
	_ = u.SetNetworkLayerForChecksum(n)
	c.packets = append(c.packets, taped{at: c.now, ip: serialize(c.t, ip, u, gopacket.Payload(data))})
	return c.wait(time.Millisecond)
}

// tcp adds a segment.
func (c *tape) tcp(from, to string, seq uint32, flags, data string) *tape {
	c.t.Helper()
	a, b := ap(from), ap(to)
	ip, n := network(a, b, layers.IPProtocolTCP)
	x := &layers.TCP{SrcPort: layers.TCPPort(a.Port()), DstPort: layers.TCPPort(b.Port()), Seq: seq, ACK: true, Window: 1000,
		SYN: strings.Contains(flags, "S"), FIN: strings.Contains(flags, "F"), RST: strings.Contains(flags, "R")}
	_ = x.SetNetworkLayerForChecksum(n)
	c.packets = append(c.packets, taped{at: c.now, ip: serialize(c.t, ip, x, gopacket.Payload(data))})
	return c.wait(time.Millisecond)
}

// frame puts a link header before an IP packet.
func frame(t testing.TB, link layers.LinkType, p *taped) []byte {
	kind := layers.EthernetTypeIPv4
	if p.ip[0]>>4 == 6 {
		kind = layers.EthernetTypeIPv6
	}
	mac := []byte{2, 0, 0, 0, 0, 1}
	switch link {
	case layers.LinkTypeEthernet:
		return serialize(t, &layers.Ethernet{SrcMAC: mac, DstMAC: mac, EthernetType: kind}, gopacket.Payload(p.ip))
	case layers.LinkTypeLinuxSLL:
		return append([]byte{0, byte(p.place), 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, byte(kind >> 8), byte(kind)}, p.ip...)
	case layers.LinkTypeLinuxSLL2:
		return append([]byte{byte(kind >> 8), byte(kind), 0, 0, 0, 0, 0, byte(p.place), 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0}, p.ip...)
	case layers.LinkTypeNull:
		return append([]byte{2, 0, 0, 0}, p.ip...)
	case layers.LinkTypeLoop:
		return append([]byte{0, 0, 0, 2}, p.ip...)
	default:
		return p.ip
	}
}

// pcap writes the tape in the format of old.
func (c *tape) pcap(link layers.LinkType) []byte {
	var b bytes.Buffer
	w := pcapgo.NewWriterNanos(&b)
	if err := w.WriteFileHeader(65535, link); err != nil {
		c.t.Fatal(err)
	}
	for i := range c.packets {
		p := &c.packets[i]
		data := frame(c.t, link, p)
		ci := gopacket.CaptureInfo{Timestamp: p.at, Length: len(data), CaptureLength: len(data) - p.cut}
		if err := w.WritePacket(ci, data[:ci.CaptureLength]); err != nil {
			c.t.Fatal(err)
		}
	}
	return b.Bytes()
}

// pcapng writes the tape in the format of today, each packet on the interface of its place.
func (c *tape) pcapng(links ...layers.LinkType) []byte {
	var b bytes.Buffer
	w, err := pcapgo.NewNgWriter(&b, links[0])
	for _, l := range links[1:] {
		if err == nil {
			_, err = w.AddInterface(pcapgo.NgInterface{Name: "another", LinkType: l})
		}
	}
	for i := range c.packets {
		p := &c.packets[i]
		data := frame(c.t, links[p.place], p)
		ci := gopacket.CaptureInfo{Timestamp: p.at, Length: len(data), CaptureLength: len(data) - p.cut, InterfaceIndex: p.place}
		if err == nil {
			err = w.WritePacket(ci, data[:ci.CaptureLength])
		}
	}
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return b.Bytes()
}

// open offers the tape as a file.
func (c *tape) open() Opener { return opener(c.pcap(layers.LinkTypeEthernet)) }

func opener(data []byte) Opener {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
}

// messages reads all of a capture.
func messages(t testing.TB, data []byte) (list []string, facts Facts) {
	t.Helper()
	c, err := Open(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	var m Message
	for c.Next(&m) == nil {
		x := fmt.Sprintf("%s %s %s>%s %s", m.Time.Sub(noon), m.Transport, m.Source, m.Destination, strings.ReplaceAll(string(m.Data[:min(len(m.Data), 12)]), "\r\n", " "))
		if m.Cut {
			x += " cut"
		}
		if m.Err != nil {
			x += " " + m.Err.Error()
		}
		list = append(list, x)
	}
	return list, c.Facts()
}

func want(t testing.TB, what string, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s:\n%s", what, d)
	}
}

// golden compares with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want(t, name+" (rewrite it with -update)", got, string(text))
}

// setup is the configuration of the tests.
func setup(change func(*policy.Config)) *Setup {
	face := func(id uint16, side nat.Side, realm nat.Realm, tr nat.Transport, at string) nat.Interface {
		return nat.Interface{ID: id, Side: side, Realm: realm, Transport: tr, Bind: ap(at), Advertised: ap(at)}
	}
	s := &Setup{
		Name: "sbc.yaml",
		Config: &policy.Config{
			Phones: policy.PhonesConfig{Registrar: true}, RateLimits: []policy.RateLimitConfig{},
		},
		Interfaces: []nat.Interface{
			face(0, nat.Outside, nat.Phones, nat.UDP, gatePhones), face(1, nat.Outside, nat.Phones, nat.TCP, gatePhones),
			face(2, nat.Outside, nat.Trunks, nat.UDP, gateTrunks), face(3, nat.Inside, nat.Phones, nat.UDP, "10.0.0.2:5060"),
			face(4, nat.Inside, nat.Trunks, nat.UDP, "10.0.0.2:5080"),
		},
		Peers: []policy.Peer{
			{Prefix: netip.MustParsePrefix(itsp + "/32"), Kind: policy.Trunk, Side: nat.Outside, Realm: nat.Trunks, Name: "itsp"},
			{Prefix: netip.MustParsePrefix("10.0.0.10/32"), Kind: policy.Node, Side: nat.Inside, Realm: nat.Phones, Name: node},
			{Prefix: netip.MustParsePrefix("10.0.0.10/32"), Kind: policy.Node, Side: nat.Inside, Realm: nat.Trunks, Name: node},
		},
	}
	if change != nil {
		change(s.Config)
	}
	return s
}

// limitsOf is a rule for all phones.
func limitsOf(name, register string, burst int) []policy.RateLimitConfig {
	return []policy.RateLimitConfig{{
		Name: name, Range: []string{"any"}, Realms: []string{"phones"}, Limits: map[string]string{"REGISTER": register}, Burst: &burst,
	}}
}
