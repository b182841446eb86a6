package replay

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"sallyport/policy"
	"sallyport/sbc/credentials"
	"sallyport/sbc/scan"
)

// endless makes a file of a head and a part that a function makes again and again.
type endless struct {
	ready []byte
	left  int
	next  func(i int) []byte
	i     int
}

// Read makes more of the file.
func (e *endless) Read(p []byte) (int, error) {
	for len(e.ready) == 0 {
		if e.i == e.left {
			return 0, io.EOF
		}
		e.ready = e.next(e.i)
		e.i++
	}
	n := copy(p, e.ready)
	e.ready = e.ready[n:]
	return n, nil
}

// held reads a whole capture and tells how much memory is in use behind it.
func held(t *testing.T, r io.Reader) (grown int64, c *Capture) {
	t.Helper()
	live := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := live()
	c, err := Open(r)
	if err != nil {
		t.Fatal(err)
	}
	var m Message
	for c.Next(&m) == nil {
	}
	grown = live() - before
	runtime.KeepAlive(c)
	return grown, c
}

// record is one packet of a pcap file.
func record(i int, ip []byte) []byte {
	at := noon.Add(time.Duration(i) * time.Millisecond)
	b := binary.LittleEndian.AppendUint32(nil, uint32(at.Unix()))
	b = binary.LittleEndian.AppendUint32(b, uint32(at.Nanosecond()/1000))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(ip)))
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(ip))), ip...)
}

func pcapHead(t *testing.T) []byte {
	var b bytes.Buffer
	if err := pcapgo.NewWriter(&b).WriteFileHeader(65535, layers.LinkTypeRaw); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestHostileCapturesAreBounded: none of these files makes the reader hold more than its bounds allow.
func TestHostileCapturesAreBounded(t *testing.T) {
	udp := newTape(t).udp(office+":1", gatePhones, strings.Repeat("x", 1400)).packets[0].ip
	begin := pieces(udp, 0, 1200)[0]
	ended := pieces(newTape(t).udp(office+":1", gatePhones, strings.Repeat("x", 40)).packets[0].ip, 1, 24)
	syn := newTape(t).tcp(office+":1", gatePhones, 1, "S", "").packets[0].ip
	early := newTape(t).tcp(office+":1", gatePhones, 1000, "", strings.Repeat("y", 1400)).packets[0].ip
	half := newTape(t).tcp(office+":1", gatePhones, 2, "", "INVITE sip:a SIP/2.0\r\nX: "+strings.Repeat("z", 1300)).packets[0].ip
	port := func(ip []byte, i int) []byte {
		p := bytes.Clone(ip)
		binary.BigEndian.PutUint16(p[20:], uint16(i))
		p[14] = byte(i >> 16)
		return p
	}
	for _, c := range []struct {
		name string
		n    int
		next func(int) []byte
		most int64
	}{
		{"beginnings of datagrams", 60_000, func(i int) []byte { p := bytes.Clone(begin); binary.BigEndian.PutUint16(p[4:], uint16(i)); return p }, 6 << 20},
		{"pieces that fit nowhere", 100_000, func(i int) []byte {
			p := bytes.Clone(begin[:39])
			binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
			binary.BigEndian.PutUint16(p[4:], uint16(i))
			p[15] = byte(i >> 16)
			return p
		}, 4 << 20},
		{"one waits, others are complete", 100_000, func(i int) []byte {
			if i == 0 {
				return begin
			}
			p := bytes.Clone(ended[i&1])
			binary.BigEndian.PutUint16(p[4:], uint16(1+i/2%60_000))
			return p
		}, 2 << 20},
		{"connections", 100_000, func(i int) []byte { return port(syn, i) }, 8 << 20},
		{"bytes that never become next", 100_000, func(i int) []byte {
			p := port(early, i/50)
			binary.BigEndian.PutUint32(p[24:], uint32(5000+i%50*2000))
			return p
		}, 40 << 20},
		{"halves of messages", 60_000, func(i int) []byte { return port(half, i) }, 40 << 20},
		{"datagrams", 100_000, func(i int) []byte { return port(udp, i) }, 2 << 20},
	} {
		grown, reader := held(t, &endless{ready: pcapHead(t), left: c.n, next: func(i int) []byte { return record(i, c.next(i)) }})
		if grown > c.most {
			t.Errorf("%s: %d KiB are held", c.name, grown>>10)
		}
		if f := reader.Facts(); f.Packets != uint64(c.n) || f.End != "" {
			t.Errorf("%s: %+v", c.name, f)
		}
	}
}

// ng is a block of a pcapng file.
func ng(kind uint32, body []byte) []byte {
	size := uint32(12 + len(body))
	b := binary.LittleEndian.AppendUint32(nil, kind)
	b = append(binary.LittleEndian.AppendUint32(b, size), body...)
	return binary.LittleEndian.AppendUint32(b, size)
}

// TestHostileDescriptions: what a pcapng file tells besides packets is not held, and cannot claim room.
func TestHostileDescriptions(t *testing.T) {
	good := newTape(t).udp(office+":1", gatePhones, options).pcapng(layers.LinkTypeEthernet)
	name := ng(4, append([]byte{1, 0, 30, 0}, make([]byte, 1<<16)...))
	grown, c := held(t, &endless{ready: good, left: 2000, next: func(int) []byte { return name }})
	if f := c.Facts(); grown > 1<<20 || f.End != "" || f.Packets != 1 {
		t.Errorf("names: %d KiB, %+v", grown>>10, f)
	}
	face := ng(blockInterface, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	grown, c = held(t, &endless{ready: good, left: 1 << 20, next: func(int) []byte { return face }})
	if f := c.Facts(); grown > 1<<20 || !strings.Contains(f.End, "more than 1024 interfaces") {
		t.Errorf("interfaces: %d KiB, %+v", grown>>10, f)
	}
	for name, bad := range map[string][]byte{
		"4 GiB":             {6, 0, 0, 0, 0xfc, 0xff, 0xff, 0xff},
		"nothing":           {6, 0, 0, 0, 0, 0, 0, 0},
		"odd":               {6, 0, 0, 0, 33, 0, 0, 0},
		"no such interface": ng(blockEnhanced, append([]byte{9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0}, "abcd"...)),
		"too short":         ng(blockEnhanced, []byte{0, 0, 0, 0}),
	} {
		grown, c := held(t, bytes.NewReader(append(bytes.Clone(good), bad...)))
		if f := c.Facts(); grown > 1<<20 || f.End == "" || f.Packets != 1 {
			t.Errorf("%s: %d KiB, %+v", name, grown>>10, f)
		}
	}
	big := pcapHead(t)
	binary.LittleEndian.PutUint32(big[16:], 1<<31-1) // snap length
	claim := record(0, nil)
	binary.LittleEndian.PutUint32(claim[8:], 1<<30)
	binary.LittleEndian.PutUint32(claim[12:], 1<<30)
	grown, c = held(t, bytes.NewReader(append(append(big, claim...), make([]byte, 1<<20)...)))
	if f := c.Facts(); grown > 1<<20 || f.End == "" {
		t.Errorf("a packet of 1 GiB: %d KiB, %+v", grown>>10, f)
	}
}

// TestHostileMessagesAreBounded: what is remembered of requests, bindings and dialogs has an end.
func TestHostileMessagesAreBounded(t *testing.T) {
	s := setup(nil)
	r, err := newRun(newTape(t).scans(1).open(), s)
	if err != nil {
		t.Fatal(err)
	}
	for i := range requestsMost + 5000 {
		m := Message{Time: noon, Source: ap(scanner + ":5060"), Destination: ap(gatePhones), Data: []byte(sip{method: "OPTIONS", callID: fmt.Sprint(i)}.String())}
		if _, err := r.message(&m); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(r.known.requests); n > requestsMost || n != len(r.known.order) {
		t.Errorf("%d requests, %d in order", n, len(r.known.order))
	}
	long := "Authorization: Digest username=\"" + strings.Repeat("x", 4000) + "\"\r\n"
	for i := range requestsBytes/(3*4000) + 500 {
		m := Message{Time: noon, Source: ap(office + ":5060"), Destination: ap(gatePhones), Data: []byte(sip{method: "OPTIONS", callID: fmt.Sprint("long-", i), extra: strings.Repeat(long, 3)}.String())}
		if _, err := r.message(&m); err != nil {
			t.Fatal(err)
		}
	}
	total := 0
	for _, q := range r.known.requests {
		total += q.size
	}
	if k := &r.known; k.bytes != total || total > requestsBytes || len(k.requests) != len(k.order) || len(k.requests) > requestsBytes/(3*4000) {
		t.Errorf("%d bytes of %d requests, %d are counted", total, len(k.requests), k.bytes)
	}
}

// TestHostileNoncesAreBounded, and so are the names of a source that are looked through.
func TestHostileNoncesAreBounded(t *testing.T) {
	var n issued
	for i := range 5 * noncesMost {
		name := fmt.Sprint("n", i)
		if n.add(name); n.times(name) != 1 || len(n.young)+len(n.old) > 2*noncesMost {
			t.Fatalf("%d: %d and %d", i, len(n.young), len(n.old))
		}
	}
	if n.has("n0") || n.has("") {
		t.Error("the first is known yet")
	}
	b, at := newBook(), ap(office+":5060")
	x := binding{from: at, login: credentials.Login{}.Accepted(slices.Values([]string{`Digest username="204"`}))}
	for i := range namesMost + 1 {
		if i > 0 && b.answers(at.Addr(), "205") {
			t.Fatalf("205 is one of %d phones", i)
		}
		key := bindingKey{"204@example.com", fmt.Sprint(i)}
		b.all[key] = x
		b.count(key, &x, 1)
	}
	if !b.answers(at.Addr(), "205") {
		t.Error("so many phones are looked through")
	}
	for key := range b.all {
		b.count(key, &x, -1)
	}
	if len(b.phones)+len(b.places)+len(b.sources) != 0 {
		t.Errorf("%+v", b)
	}
}

// files are captures for fuzzing to begin with.
func files(f *testing.F) {
	c := newTape(f).registers(office+":40001", "201", "r1", 1).udp("[2001:db8::7]:1", "[2001:db8::10]:5060", options)
	c.tcp(office+":50000", gatePhones, 99, "S", "").tcp(office+":50000", gatePhones, 100, "", options+options[:20])
	for _, p := range pieces(c.packets[0].ip, 3, 200) {
		c.packets = append(c.packets, taped{at: c.now, ip: p})
	}
	for _, link := range []layers.LinkType{layers.LinkTypeEthernet, layers.LinkTypeLinuxSLL2, layers.LinkTypeRaw} {
		f.Add(c.pcap(link))
		f.Add(c.pcapng(link))
	}
	f.Add(pcapHeadBytes)
}

// FuzzCapture: whatever a file holds, reading it ends, and what comes out is within bounds.
func FuzzCapture(f *testing.F) {
	files(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		capture, err := Open(bytes.NewReader(data))
		if err != nil {
			return
		}
		var m Message
		for n := 0; capture.Next(&m) == nil; n++ {
			if len(m.Data) > scan.MaxDatagram || n > len(data) {
				t.Fatalf("message %d has %d bytes", n, len(m.Data))
			}
		}
		facts := capture.Facts()
		_ = facts.Notes()
		if facts.Packets > uint64(len(data)) {
			t.Fatalf("%+v of %d bytes", facts, len(data))
		}
	})
}

// FuzzReplay: whatever a file holds, a replay ends with a report or an error, and so does learning. The guard's tables
// are hashed anew each time, so that the same file covers other lines: fuzz it with -fuzzminimizetime 10x.
func FuzzReplay(f *testing.F) {
	files(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		s := setup(nil)
		s.sizes = policy.Sizes{
			StrangerBuckets: 64, KnownBuckets: 64, Repeats: 64, Challenges: 64, Live: 64, Bans: 64, StrangerScores: 64, KnownScores: 64, Blocks: 64,
		}
		p, err := Run(opener(data), s)
		if err != nil {
			return
		}
		if p.Allowed+p.Refused != p.Messages {
			t.Fatalf("%+v", p)
		}
		_ = p.Text(time.UTC)
		if x, err := Suggest(opener(data), s, SuggestOptions{}); err == nil {
			_ = x.Text(time.UTC)
		}
	})
}

var pcapHeadBytes = []byte("\xd4\xc3\xb2\xa1\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x00\x00\x65\x00\x00\x00")

// FuzzFields: whatever a header says, reading it ends and its texts are bounded.
func FuzzFields(f *testing.F) {
	f.Add(`"a, <b>" <sip:204@192.0.2.1:5060;x=y>;expires=60, sips:b@c;expires=5, *`)
	f.Add("<sip:a@[")
	f.Fuzz(func(t *testing.T, contact string) {
		var x fields
		x.addContacts(contact)
		for _, c := range x.contacts {
			if len(c.uri) == 0 || len(c.uri) > textMost || c.expires < -1 {
				t.Fatalf("%+v of %q", c, contact)
			}
		}
		if user, host := person([]byte(contact)); len(user)+len(host) > textMost {
			t.Fatalf("%q at %q of %q", user, host, contact)
		}
	})
}
