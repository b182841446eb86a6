package demo

import (
	"bytes"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"sallyport/media/sdp"
	"sallyport/nat"
	"sallyport/sbc/scan"
)

// traffic is what the stand-ins saw on their wires: the ladder of the scene that plays, and the bytes and ids of each
// side, by which the last scene judges whether the gate kept the sides apart.
type traffic struct {
	mu      sync.Mutex // guards all below
	off     bool
	start   time.Time
	steps   []Step
	invites int // that reached the PBX since the scene began
	sides   [2]sideTraffic
}

// sideTraffic is one side's.
type sideTraffic struct {
	heard   []heardMessage
	secrets map[string]string // what the other side may not see, and what it is
}

// heardMessage is a message that the gate sent to a side.
type heardMessage struct {
	title string
	bytes []byte
}

// Step is one line of a ladder: a message on one side of the gate, or audio through both.
type Step struct {
	At    float64 `json:"ms"`   // since the scene began
	Side  string  `json:"side"` // outside, inside; both: audio
	From  string  `json:"from"` // provider, phone, gate, pbx
	Title string  `json:"title"`
}

// maxHeard bounds the memory of each side: the scenes make a hundred messages.
const maxHeard = 2000

func newTraffic(a *Addresses) *traffic {
	t := &traffic{start: time.Now()}
	for side, who := range [2][]string{nat.Outside: {"provider", "phone"}, nat.Inside: {"pbx"}} {
		t.sides[side].secrets = map[string]string{}
		for _, name := range who {
			t.sides[side].secrets[product+name] = "product name"
		}
	}
	for side, at := range [2][]netip.Addr{
		nat.Outside: {a.Outside.Addr(), a.Provider.Addr(), a.Phone, a.PhoneHome.Addr()}, nat.Inside: {a.Inside.Addr(), a.PBX.Addr()},
	} {
		for _, addr := range at {
			t.sides[side].secrets[addr.String()] = "address"
		}
	}
	return t
}

// tap is the Trace of a stand-in.
func (t *traffic) tap(name string) func(sent bool, peer netip.AddrPort, b []byte) {
	side := nat.Outside
	if name == "pbx" {
		side = nat.Inside
	}
	return func(sent bool, _ netip.AddrPort, b []byte) {
		now := time.Now()
		b = bytes.Clone(b)
		var v scan.View
		if scan.Scan(b, &v) != nil {
			return
		}
		from := name
		if !sent {
			from = "gate"
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		if !t.off {
			t.take(now, side, from, &v, b)
		}
	}
}

func (t *traffic) take(now time.Time, side nat.Side, from string, v *scan.View, b []byte) {
	title := titleOf(v)
	s := &t.sides[side]
	if from == "gate" && len(s.heard) < maxHeard {
		s.heard = append(s.heard, heardMessage{title, b})
	}
	for _, id := range [...]struct {
		what string
		span scan.Span
	}{{"Call-ID", v.CallID}, {"tag", v.FromTag}, {"tag", v.ToTag}, {"branch", v.Branch}} {
		if len(s.secrets) < maxHeard && !id.span.Empty() {
			s.secrets[string(v.Bytes(id.span))] = id.what
		}
	}
	if string(v.Bytes(v.CSeqMethod)) == "OPTIONS" {
		return // the gate's probes belong to no scene
	}
	if side == nat.Inside && from == "gate" && string(v.Bytes(v.Method)) == "INVITE" {
		t.invites++
	}
	t.steps = append(t.steps, Step{At: t.since(now), Side: side.String(), From: from, Title: title})
}

func (t *traffic) since(now time.Time) float64 {
	return float64(now.Sub(t.start).Round(10*time.Microsecond)) / float64(time.Millisecond)
}

// titleOf names a message in a few words.
func titleOf(v *scan.View) string {
	title := string(v.Bytes(v.Method))
	switch {
	case !v.IsRequest:
		title = strconv.Itoa(v.Status) + " " + string(v.Bytes(v.Phrase))
		if m := string(v.Bytes(v.CSeqMethod)); m != "INVITE" {
			title += " " + m
		}
	case title == "INVITE" && v.ToTag.Empty():
		user, _, _ := strings.Cut(strings.TrimPrefix(string(v.Bytes(v.RequestURI)), "sip:"), "@")
		title += " " + user
	}
	if m, ok := audio(v.Bytes(v.Body)); ok {
		title += " SDP"
		if m.Direction != sdp.SendRecv {
			title += " " + m.Direction.String()
		}
	}
	return title
}

// begin starts a scene.
func (t *traffic) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.start, t.steps, t.invites = time.Now(), nil, 0
}

// end returns the scene's ladder, and how many INVITEs reached the PBX in it.
func (t *traffic) end() ([]Step, int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.steps, t.invites
}

// audio puts a line of audio on the ladder.
func (t *traffic) audio(title string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.steps = append(t.steps, Step{At: t.since(time.Now()), Side: "both", From: "both", Title: title})
}

// stop ends the recording.
func (t *traffic) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.off = true
}

// seenAcross looks in everything that one side heard from the gate for what belongs to the other side.
func (t *traffic) seenAcross(side nat.Side) (messages, size, ids int, found []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	secrets := t.sides[side.Other()].secrets
	for _, m := range t.sides[side].heard {
		size += len(m.bytes)
		for secret, what := range secrets {
			if bytes.Contains(m.bytes, []byte(secret)) {
				found = append(found, fmt.Sprintf("%s shows the %s side's %s %q", m.title, side.Other(), what, secret))
			}
		}
	}
	return len(t.sides[side].heard), size, len(secrets), found
}
