package replay

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

var options = sip{method: "OPTIONS"}.String()

func TestLinkTypes(t *testing.T) {
	c := newTape(t).udp(office+":40000", gatePhones, options).udp("[2001:db8::7]:40000", "[2001:db8::10]:5060", "jaK")
	expect := []string{
		"0s udp 198.51.100.7:40000>203.0.113.10:5060 OPTIONS sip:",
		"1ms udp [2001:db8::7]:40000>[2001:db8::10]:5060 jaK",
	}
	for _, link := range []layers.LinkType{
		layers.LinkTypeEthernet, layers.LinkTypeLinuxSLL, layers.LinkTypeLinuxSLL2, layers.LinkTypeNull, layers.LinkTypeLoop, layers.LinkTypeRaw,
	} {
		got, facts := messages(t, c.pcap(link))
		want(t, link.String(), got, expect)
		got, _ = messages(t, c.pcapng(link))
		want(t, link.String()+" in pcapng", got, expect)
		if facts.Packets != 2 || !facts.First.Equal(noon) || !facts.Last.Equal(noon.Add(time.Millisecond)) || len(facts.Notes()) != 0 {
			t.Errorf("%v: %+v", link, facts)
		}
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = w.Write(c.pcapng(layers.LinkTypeEthernet))
	_ = w.Close()
	got, _ := messages(t, packed.Bytes())
	want(t, "gzip", got, expect)
	got, facts := messages(t, c.pcap(layers.LinkTypeFDDI))
	if len(got) != 0 || facts.Links != 2 || !strings.Contains(facts.Notes()[0], "FDDI") {
		t.Errorf("%v %+v", got, facts.Notes())
	}
}

func TestTagsOnTheWay(t *testing.T) {
	ip := newTape(t).udp(office+":40000", gatePhones, options).packets[0].ip
	mac := []byte{2, 0, 0, 0, 0, 1}
	for name, data := range map[string][]byte{
		"802.1Q": serialize(t, &layers.Ethernet{SrcMAC: mac, DstMAC: mac, EthernetType: layers.EthernetTypeDot1Q},
			&layers.Dot1Q{VLANIdentifier: 5, Type: layers.EthernetTypeIPv4}, gopacket.Payload(ip)),
		"802.1ad": serialize(t, &layers.Ethernet{SrcMAC: mac, DstMAC: mac, EthernetType: 0x88a8},
			&layers.Dot1Q{VLANIdentifier: 5, Type: layers.EthernetTypeDot1Q}, &layers.Dot1Q{VLANIdentifier: 6, Type: layers.EthernetTypeIPv4}, gopacket.Payload(ip)),
		"PPPoE": serialize(t, &layers.Ethernet{SrcMAC: mac, DstMAC: mac, EthernetType: layers.EthernetTypePPPoESession},
			&layers.PPPoE{Version: 1, Type: 1, Length: uint16(len(ip) + 2)}, &layers.PPP{PPPType: layers.PPPTypeIPv4}, gopacket.Payload(ip)),
	} {
		got, _, known := internet(layers.LinkTypeEthernet, data)
		if !known || !bytes.Equal(got, ip) {
			t.Errorf("%s: %x", name, got)
		}
	}
}

// pieces cuts an IP packet into fragments.
func pieces(ip []byte, id uint16, size int) (out [][]byte) {
	head, data := ip[:20], ip[20:]
	for at := 0; at < len(data); at += size {
		part := data[at:min(at+size, len(data))]
		p := append(bytes.Clone(head), part...)
		binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
		binary.BigEndian.PutUint16(p[4:], id)
		flags := uint16(at / 8)
		if at+size < len(data) {
			flags |= 0x2000
		}
		binary.BigEndian.PutUint16(p[6:], flags)
		out = append(out, p)
	}
	return out
}

// pieces6 does so for IPv6.
func pieces6(ip []byte, id uint32, size int) (out [][]byte) {
	head, data := ip[:40], ip[40:]
	for at := 0; at < len(data); at += size {
		part := data[at:min(at+size, len(data))]
		p := bytes.Clone(head)
		p[6] = protocolFragment
		binary.BigEndian.PutUint16(p[4:], uint16(8+len(part)))
		offset := uint16(at)
		if at+size < len(data) {
			offset |= 1
		}
		f := []byte{protocolUDP, 0, byte(offset >> 8), byte(offset), byte(id >> 24), byte(id >> 16), byte(id >> 8), byte(id)}
		out = append(out, append(append(p, f...), part...))
	}
	return out
}

func TestFragments(t *testing.T) {
	large := sip{method: "INVITE", callID: "large", body: strings.Repeat("a=x\r\n", 900)}.String()
	four := pieces(newTape(t).udp(office+":1", gatePhones, large).packets[0].ip, 7, 1480)
	six := pieces6(newTape(t).udp("[2001:db8::7]:1", "[2001:db8::10]:5060", large).packets[0].ip, 8, 1232)
	overlapping := append(bytes.Clone(four[1][:20]), make([]byte, 1480)...)
	copy(overlapping[:8], four[0][:8])
	overlapping[5], overlapping[7] = 7, 1 // from byte 8 on
	overlapping[6] = 0x20
	for _, c := range []struct {
		name  string
		order [][]byte
		count int
		lost  uint64
	}{
		{"in order", four, 1, 0},
		{"backwards", [][]byte{four[3], four[2], four[1], four[0]}, 1, 0},
		{"IPv6", six, 1, 0},
		{"mixed", [][]byte{six[0], four[0], six[1], four[1], six[2], four[2], four[3], six[3]}, 2, 0},
		{"one missing", [][]byte{four[0], four[1], four[3]}, 0, 1},
		{"one twice", [][]byte{four[0], four[0], four[1], four[2], four[3]}, 0, 2},
		{"overlapping", [][]byte{four[0], overlapping, four[1], four[2], four[3]}, 0, 2},
	} {
		tape := newTape(t)
		for _, p := range c.order {
			tape.packets = append(tape.packets, taped{at: tape.now, ip: p})
		}
		got, facts := messages(t, tape.pcap(layers.LinkTypeRaw))
		if len(got) != c.count || facts.Fragments != c.lost {
			t.Errorf("%s: %d messages %v, %d lost", c.name, len(got), got, facts.Fragments)
		}
	}
}

func TestStreamsAreCutIntoMessages(t *testing.T) {
	a, b := office+":50000", gatePhones
	m := func(id string) string { return sip{method: "OPTIONS", callID: id}.String() }
	first, second := m("one"), m("two")
	both := first + "\r\n\r\n" + second
	n := uint32(len(first))
	for _, c := range []struct {
		name  string
		tape  *tape
		count int
		gaps  uint64
	}{
		{"whole", newTape(t).tcp(a, b, 99, "S", "").tcp(a, b, 100, "", first).tcp(a, b, 100+n, "", second), 2, 0},
		{"pipelined", newTape(t).tcp(a, b, 99, "S", "").tcp(a, b, 100, "", both), 2, 0},
		{"in pieces", newTape(t).tcp(a, b, 99, "S", "").tcp(a, b, 100, "", both[:10]).tcp(a, b, 110, "", both[10:300]).tcp(a, b, 400, "F", both[300:]), 2, 0},
		{"out of order", newTape(t).tcp(a, b, 99, "S", "").tcp(a, b, 100+n, "", second).tcp(a, b, 100, "", first), 2, 0},
		{"out of order across 2^32", newTape(t).tcp(a, b, ^uint32(0)-10, "S", "").tcp(a, b, n-10, "", second).tcp(a, b, ^uint32(0)-9, "", first), 2, 0},
		{"repeated", newTape(t).tcp(a, b, 99, "S", "").tcp(a, b, 100, "", first).tcp(a, b, 100, "", first).tcp(a, b, 95, "", first[:5]+both), 2, 0},
		{"overlapping", newTape(t).tcp(a, b, 99, "S", "").tcp(a, b, 100, "", both[:50]).tcp(a, b, 120, "", both[20:]), 2, 0},
		{"begun before the capture", newTape(t).tcp(a, b, 100, "", first[30:]).tcp(a, b, 70+n, "", second), 1, 0},
		{"a hole", newTape(t).tcp(a, b, 99, "S", "").tcp(a, b, 100, "", first[:50]).tcp(a, b, 100+n, "", second).wait(2*time.Second).
			tcp(a, b, 100+n+uint32(len(second)), "", m("three")), 2, 1},
		{"reset and new", newTape(t).tcp(a, b, 99, "S", "").tcp(a, b, 100, "", first[:50]).tcp(a, b, 150, "R", "").tcp(a, b, 7, "S", "").tcp(a, b, 8, "", first), 1, 0},
		{"ports used again", newTape(t).tcp(a, b, 99, "S", "").tcp(a, b, 100, "", first).tcp(a, b, 1<<30, "", second), 2, 1},
	} {
		got, facts := messages(t, c.tape.pcap(layers.LinkTypeEthernet))
		if len(got) != c.count || facts.Gaps != c.gaps {
			t.Errorf("%s: %d messages, %d gaps:\n%s", c.name, len(got), facts.Gaps, strings.Join(got, "\n"))
		}
		for _, x := range got {
			if !strings.HasSuffix(x, "OPTIONS sip:") {
				t.Errorf("%s: %q", c.name, x)
			}
		}
	}
}

func TestStreamsThatAreNoSIP(t *testing.T) {
	a, b := office+":50000", gatePhones
	got, facts := messages(t, newTape(t).tcp(a, b, 99, "S", "").tcp(a, b, 100, "", "\x16\x03\x01\x02\x00\x01").tcp(a, b, 106, "", options).pcap(layers.LinkTypeEthernet))
	if len(got) != 0 || facts.Encrypted != 1 || !strings.Contains(facts.Notes()[0], "sbc record") {
		t.Errorf("TLS: %v %+v", got, facts)
	}
	got, _ = messages(t, newTape(t).tcp(a, b, 99, "S", "").tcp(a, b, 100, "", "GET / HTTP/1.1\r\nHost: x\r\n\r\n").tcp(a, b, 127, "", options).pcap(layers.LinkTypeEthernet))
	want(t, "HTTP", got, []string{"1ms tcp 198.51.100.7:50000>203.0.113.10:5060 GET / HTTP/1 start line is neither a request line nor a status line"})
}

func TestCutPackets(t *testing.T) {
	body := sip{method: "INVITE", body: strings.Repeat("x", 300)}.String()
	c := newTape(t).udp(office+":1", gatePhones, body).udp(office+":1", gatePhones, options)
	c.packets[0].cut = 200
	data := c.pcap(layers.LinkTypeEthernet)
	got, facts := messages(t, data)
	if len(got) != 2 || !strings.HasSuffix(got[0], " cut") || facts.Cut != 1 {
		t.Errorf("%v %+v", got, facts)
	}
	for _, file := range [][]byte{data, c.pcapng(layers.LinkTypeEthernet)} {
		for _, less := range []int{1, 30, 100} {
			got, facts := messages(t, file[:len(file)-less])
			if len(got) != 1 || !strings.Contains(strings.Join(facts.Notes(), "\n"), "could not be read to its end: it ends within a packet") {
				t.Errorf("%d bytes less: %v %q", less, got, facts.Notes())
			}
		}
	}
	a, m := office+":50000", func(id string) string { return sip{method: "OPTIONS", callID: id}.String() }
	c = newTape(t).tcp(a, gatePhones, 99, "S", "").tcp(a, gatePhones, 100, "", m("one")).tcp(a, gatePhones, 100+uint32(len(m("one"))), "", m("two"))
	c.packets[1].cut = 40
	if got, facts := messages(t, c.pcap(layers.LinkTypeEthernet)); len(got) != 1 || facts.Gaps != 1 {
		t.Errorf("a cut segment: %v %+v", got, facts)
	}
}

// TestCopiesOfOneDatagram: a capture of `any` sees what passes a bridge twice; repeats of the sender come later.
func TestCopiesOfOneDatagram(t *testing.T) {
	c := newTape(t)
	for i := range 3 {
		c.udp(office+":1", gatePhones, options).udp(office+":1", gatePhones, options).wait(time.Duration(500<<i) * time.Millisecond)
		c.packets[2*i].place, c.packets[2*i+1].place = 2, 3
	}
	got, facts := messages(t, c.pcap(layers.LinkTypeLinuxSLL2))
	if len(got) != 3 || facts.Duplicates != 3 {
		t.Errorf("%d messages, %+v", len(got), facts)
	}
	for i := range c.packets {
		c.packets[i].place = 2
	}
	if got, facts := messages(t, c.pcap(layers.LinkTypeLinuxSLL)); len(got) != 6 || facts.Duplicates != 0 {
		t.Errorf("a flood of equal datagrams: %d messages, %+v", len(got), facts)
	}
}

func TestFilesThatAreNone(t *testing.T) {
	for _, data := range []string{"", "x", "hello, this is no capture", "\x0a\x0d\x0d\x0a\x00", "\x1f\x8b\x08broken", "\xd4\xc3\xb2\xa1\x02\x00"} {
		if _, err := Open(strings.NewReader(data)); err == nil {
			t.Errorf("%q is taken for a capture", data)
		}
	}
}

func TestMixedLinkTypesAndSections(t *testing.T) {
	c := newTape(t)
	for i := range 4 {
		c.udp(office+":1", gatePhones, sip{method: "OPTIONS", callID: fmt.Sprint(i)}.String())
		c.packets[i].place = i % 2
	}
	file := c.pcapng(layers.LinkTypeEthernet, layers.LinkTypeLinuxSLL2)
	got, _ := messages(t, append(bytes.Clone(file), file...))
	if len(got) != 8 {
		t.Errorf("%d of 8 messages", len(got))
	}
}
