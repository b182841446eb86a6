package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sallyport/media/sdp"
)

// TestDemonstration is the whole demonstration, on real sockets, twice at a time: the second finds other ports.
func TestDemonstration(t *testing.T) {
	defer goleak.VerifyNone(t)
	first := make(chan Report, 1)
	go func() { first <- runOnce(t, Options{Once: true}) }()
	second := runOnce(t, Options{Once: true, JSON: true})
	for _, r := range []Report{<-first, second} {
		if !r.OK || len(r.Scenes) != len(scenes) || len(r.CDRs) != 9 {
			t.Errorf("ok %v, %d scenes of %d, %d CDRs of 9", r.OK, len(r.Scenes), len(scenes), len(r.CDRs))
		}
	}
}

func runOnce(t *testing.T, o Options) Report {
	var out bytes.Buffer
	o.Out = &out
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Errorf("it could not begin: %v", err)
	}
	if !r.OK {
		t.Errorf("it failed:\n%s", &out)
	}
	if o.JSON {
		var again Report
		if err := json.Unmarshal(out.Bytes(), &again); err != nil || again.OK != r.OK || len(again.Scenes) != len(r.Scenes) {
			t.Errorf("the JSON does not say the same (%v):\n%s", err, &out)
		}
		return r
	}
	if !strings.HasSuffix(out.String(), fmt.Sprintf("\ndemo: %d scenes, all well\n", len(scenes))) {
		t.Errorf("no verdict at the end of:\n%s", &out)
	}
	for line := range strings.Lines(out.String()) {
		if strings.Contains(line, "|:::|") && len(line) > 100 {
			t.Errorf("%d columns: %s", len(line), line)
		}
	}
	return r
}

func TestDemonstrationStaysUpUntilItIsEnded(t *testing.T) {
	defer goleak.VerifyNone(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &waiter{want: "Up until Ctrl-C", found: cancel}
	if r, err := Run(ctx, Options{Out: out}); err != nil || !r.OK {
		t.Errorf("ended with %v:\n%s", err, out.text.String())
	}
}

// Whatever the seed of a demonstration, no two stand-ins have the same ids: what is the outside's would be found inside.
func TestStandInsHaveIdsOfTheirOwn(t *testing.T) {
	for _, seed := range []byte{0, 7, 254, 255} {
		h := &house{addresses: usual, traffic: newTraffic(&usual), seed: seed}
		tags := map[string]string{}
		for _, name := range []string{"provider", "pbx", "phone"} {
			tag := h.station(name, "1", usual.Provider, nil).ids.Tag()
			if other := tags[tag]; other != "" {
				t.Errorf("seed %d: %s and %s have the same tag %s", seed, other, name, tag)
			}
			tags[tag] = name
		}
	}
}

// waiter is a writer that tells when a text has come.
type waiter struct {
	text  strings.Builder
	want  string
	found func()
}

func (w *waiter) Write(b []byte) (int, error) {
	w.text.Write(b)
	if strings.Contains(w.text.String(), w.want) {
		w.found()
	}
	return len(b), nil
}

func TestDemonstrationCanBeInterrupted(t *testing.T) {
	defer goleak.VerifyNone(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if _, err := Run(ctx, Options{Once: true, Out: &waiter{want: "Sallyport on loopback", found: cancel}}); err == nil {
		t.Error("an interrupted demonstration reports no error")
	}
}

func TestPortsThatOthersHold(t *testing.T) {
	held, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.77:0")))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = held.Close() }()
	at := held.LocalAddr().(*net.UDPAddr).AddrPort()
	want, said := at, ""
	c, err := bind(&at, "the tester", func(s string) { said = s })
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	if at == want || !strings.Contains(said, want.String()) || !strings.Contains(said, at.String()) {
		t.Errorf("bound %s, said %q; want another port than %s, and both named", at, said, want)
	}
	away := netip.MustParseAddrPort("192.0.2.1:5060")
	if _, err := bind(&away, "the tester", func(string) {}); err == nil || !strings.Contains(err.Error(), "loopback interface") {
		t.Errorf("an address that the machine does not have: %v; want a hint", err)
	}
}

// TestSound lets two sounds talk to each other directly.
func TestSound(t *testing.T) {
	defer goleak.VerifyNone(t)
	at := netip.MustParseAddr("127.0.0.1")
	a, b := newSound(t, at, false), newSound(t, at, true)
	defer a.close()
	defer b.close()
	b.aim(a.describe(sdp.SendRecv))
	a.aim(b.answer(a.describe(sdp.SendRecv)))
	talk := func(from, to *sound, mark uint32, sent, heard, back int) {
		t.Helper()
		if n := from.speak(t.Context(), mark, 3); n != sent {
			t.Errorf("mark %d: %d packets sent, want %d", mark, n, sent)
		}
		for range 400 {
			if to.ear(mark).packets >= heard && from.ear(mark).packets >= back {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		if x, y := to.ear(mark), from.ear(mark); x.packets != heard || y.packets != back || x.damaged+y.damaged+x.reordered+y.reordered != 0 {
			t.Errorf("mark %d: heard %+v there, %+v back; want %d and %d", mark, x, y, heard, back)
		}
	}
	talk(a, b, 1, 3, 3, 3)
	talk(b, a, 2, 3, 3, 0) // a echoes nothing
	// b puts a on hold.
	offer := b.describe(sdp.SendOnly)
	a.aim(offer)
	b.aim(a.answer(offer))
	talk(a, b, 3, 0, 0, 0)
	talk(b, a, 4, 3, 3, 0)
	// and takes it back.
	offer = b.describe(sdp.SendRecv)
	a.aim(offer)
	b.aim(a.answer(offer))
	talk(a, b, 5, 3, 3, 3)
}

func newSound(t *testing.T, at netip.Addr, echo bool) *sound {
	t.Helper()
	s, err := listen(at, netip.Addr{}, echo)
	if err != nil {
		t.Fatal(err)
	}
	if s.local.Port()%2 != 0 {
		t.Errorf("RTP on the odd port %d", s.local.Port())
	}
	return s
}

func TestPayloadMarks(t *testing.T) {
	payload := make([]byte, packetBytes)
	write(payload, 7, 41)
	if mark, i, intact, ok := readMark(payload); !ok || !intact || mark != 7 || i != 41 {
		t.Errorf("read mark %d, number %d, intact %v, marked %v", mark, i, intact, ok)
	}
	for k := 8; k < packetBytes; k++ {
		payload[k] ^= 1
		if _, _, intact, ok := readMark(payload); ok && intact {
			t.Errorf("damage of octet %d does not show", k)
		}
		payload[k] ^= 1
	}
	if _, _, _, ok := readMark(payload[:12]); ok {
		t.Error("a short payload has a mark")
	}
	if _, _, intact, _ := readMark(payload[:100]); intact {
		t.Error("a cut payload is intact")
	}
}

func TestHearCountsDamageAndOrder(t *testing.T) {
	s := &sound{echo: true, own: map[uint32]bool{2: true}, heard: map[uint32]*heard{}}
	packet := func(mark, i uint32) []byte {
		b := make([]byte, packetBytes)
		write(b, mark, i)
		return b
	}
	for _, i := range []uint32{0, 2, 1, 3} {
		if !s.hear(packet(1, i)) {
			t.Error("a foreign mark is not sent back")
		}
	}
	broken := packet(1, 4)
	broken[100]++
	s.hear(broken)
	if got, want := s.ear(1), (heard{packets: 5, reordered: 1, damaged: 1, next: 5}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
	if s.hear(packet(2, 0)) {
		t.Error("its own mark is sent back: two sounds would echo for ever")
	}
	if !s.hear([]byte("other audio")) || s.foreign != 1 {
		t.Error("audio of other programs is not sent back")
	}
}

func TestVerdicts(t *testing.T) {
	for _, tt := range []struct {
		a    Audio
		ok   bool
		text string
	}{
		{Audio{Phase: "both ways", Speaker: "a", Listener: "b", Echo: true, Sent: 100, Heard: 98, Back: 97}, true,
			"both ways: b heard 98 of 100 packets, a heard 97 come back; 3 lost, 0 out of order, payloads intact"},
		{Audio{Phase: "p", Speaker: "a", Listener: "b", Echo: true, Sent: 100, Heard: 100, Back: 50}, false, "50 lost"},
		{Audio{Phase: "p", Listener: "b", Sent: 100, Heard: 94}, false, "6 lost"},
		{Audio{Phase: "p", Listener: "b", Sent: 25, Heard: 25, Back: 1}, false, "b heard 25 of 25"},
		{Audio{Phase: "p", Listener: "b", Sent: 25, Heard: 25, Damaged: 1}, false, "1 damaged"},
		{Audio{Phase: "p", Listener: "b", Sent: 25, Heard: 25, Reordered: 1}, true, "1 out of order"},
		{Audio{Phase: "silence"}, false, "0 of 0"},
	} {
		tt.a.judge()
		if tt.a.OK != tt.ok || !strings.Contains(tt.a.String(), tt.text) {
			t.Errorf("%+v: %q; want ok %v, %q", tt.a, &tt.a, tt.ok, tt.text)
		}
	}
}

func TestLadderLines(t *testing.T) {
	for _, tt := range []struct {
		step Step
		want string
	}{
		{Step{0.1, "outside", "provider", "INVITE +4930100 SDP"}, "     0.1  |------- INVITE +4930100 SDP ------->|:::|                                    |"},
		{Step{1162.25, "outside", "gate", "200 OK"}, "  1162.2  |<------------- 200 OK --------------|:::|                                    |"},
		{Step{3, "inside", "gate", "ACK"}, "     3.0  |                                    |:::|--------------- ACK --------------->|"},
		{Step{4, "inside", "pbx", "BYE"}, "     4.0  |                                    |:::|<-------------- BYE ----------------|"},
		{Step{4.5, "outside", "phone", "REGISTER"}, "     4.5  |------------- REGISTER ------------>|:::|                                    |"},
		{Step{5, "both", "both", "RTP 5"}, "     5.0  |<============= RTP 5 ==============>|:::|<==================================>|"},
		{Step{6, "outside", "gate", strings.Repeat("x", 50)}, "     6.0  |<- xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx --|:::|                                    |"},
	} {
		if got := tt.step.draw(); got != tt.want {
			t.Errorf("%+v:\n%s\n%s", tt.step, got, tt.want)
		}
	}
}

// TestSeenAcross proves that the last scene would find what it looks for.
func TestSeenAcross(t *testing.T) {
	a := usual
	tr := newTraffic(&a)
	message := func(callID, host string) []byte {
		return fmt.Appendf(nil, "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP %[2]s;branch=z9hG4bK%[1]s\r\nFrom: <sip:a@%[2]s>;tag=f%[1]s\r\n"+
			"To: <sip:b@%[2]s>;tag=t%[1]s\r\nCall-ID: %[1]s\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n", callID, host)
	}
	provider, pbx := tr.tap("provider"), tr.tap("pbx")
	provider(false, a.Outside, message("out-1", "127.0.0.40"))
	pbx(false, a.Inside, message("in-1", "127.0.0.30"))
	if messages, _, _, found := tr.seenAcross(0); messages != 1 || len(found) != 0 {
		t.Errorf("%d messages, found %q in clean traffic", messages, found)
	}
	provider(true, a.Outside, message("in-1", "127.0.0.30")) // what the provider sends is its own affair
	if _, _, _, found := tr.seenAcross(0); len(found) != 0 {
		t.Errorf("found %q in what the provider sent", found)
	}
	provider(false, a.Outside, message("in-1", "127.0.0.30"))
	_, _, _, found := tr.seenAcross(0)
	text := strings.Join(found, "\n")
	for _, what := range []string{"address", "Call-ID", "tag", "branch"} {
		if !strings.Contains(text, what) {
			t.Errorf("the inside's %s was shown and not found: %s", what, text)
		}
	}
	// The phone's own address, and that of its NAT, are the outside's; so is its product.
	for _, host := range []string{a.PhoneHome.Addr().String(), a.Phone.String(), product + "phone"} {
		_, _, _, before := tr.seenAcross(1)
		pbx(false, a.Inside, message("in-2", host))
		if _, _, _, found := tr.seenAcross(1); len(found) <= len(before) {
			t.Errorf("the PBX was shown %s, and it was not found: %q", host, found)
		}
	}
	ladder, _ := tr.end()
	if len(ladder) != 7 || ladder[0].Title != "200 OK BYE" || ladder[2].From != "provider" {
		t.Errorf("ladder %+v", ladder)
	}
}
