package policy

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/nat"
	"sallyport/sbc/scan"
)

// packetOf is raw bytes as a listener received them.
func packetOf(now time.Time, i *nat.Interface, source string, data []byte) *Packet {
	view := &scan.View{}
	err := scan.Scan(data, view)
	return &Packet{Now: now, Interface: i, Source: addrPort(source), Data: data, View: view, ScanErr: err}
}

// TestPolicyTest compares what `sbc policy test` prints with testdata/try/*.txt.
func TestPolicyTest(t *testing.T) {
	config := func() Config {
		return Config{
			Phones:    PhonesConfig{Registrar: true},
			WhiteList: []WhiteEntry{{Range: []string{"192.0.2.40"}, Exempt: []string{"limits", "bans"}, Comment: "our own probe"}},
			BlackList: []BlackEntry{{Range: []string{"192.0.2.128/25"}}},
			RateLimits: append(ShippedRateLimits(),
				RateLimitConfig{Name: "invites", Realms: []string{"phones"}, Range: []string{"198.51.100.0/24"}, Limits: map[string]string{"INVITE": "2/minute"}, Burst: ptr(1), Action: "reject"},
				RateLimitConfig{Name: "tried", Limits: map[string]string{"REGISTER": "1/minute"}, Burst: ptr(1), Shadow: true},
				RateLimitConfig{Name: "watched", Limits: map[string]string{"REGISTER": "2/minute"}, Burst: ptr(1), Action: "alarm"},
				RateLimitConfig{Name: "garbage", Limits: map[string]string{"unparseable": "1/minute"}, Burst: ptr(1)}),
		}
	}
	register := msg{method: "REGISTER", agent: "Yealink SIP-T46U"}
	for _, c := range []struct {
		name   string
		door   *nat.Interface
		source string
		data   []byte
		before func(g *Guard)
	}{
		{"stranger-registers", outsidePhones, "192.0.2.66:5060", register.bytes(), nil},
		{"phone-registers", outsidePhones, "198.51.100.77:40123", register.bytes(), func(g *Guard) {
			registerPhones(g, "198.51.100.77", 14)
			passing(g, noon, outsidePhones, "198.51.100.77", "REGISTER", 3)
		}},
		{"over-the-limit", outsidePhones, "198.51.100.77:40123", msg{}.bytes(), func(g *Guard) {
			registerPhones(g, "198.51.100.77", 1)
			passing(g, noon, outsidePhones, "198.51.100.77", "INVITE", 1)
		}},
		{"repeat", outsidePhones, "192.0.2.66:5060", register.bytes(), func(g *Guard) { send(g, noon, outsidePhones, "192.0.2.66:5060", register.bytes()) }},
		{"answer", outsidePhones, "192.0.2.66:5060", msg{method: "REGISTER", extra: "Authorization: Digest nonce=\"n\"\r\n"}.bytes(), func(g *Guard) {
			g.Challenged(noon, addrPort("192.0.2.66:5060"), "n")
		}},
		{"white", outsidePhones, "192.0.2.40:5060", register.bytes(), nil},
		{"black", outsidePhones, "192.0.2.200:5060", register.bytes(), nil},
		{"banned", outsidePhones, "192.0.2.66:5060", register.bytes(), func(g *Guard) {
			must(t, g.Bans().Add(noon, Ban{Prefix: netip.MustParsePrefix("192.0.2.66/32"), Reason: "by hand"}))
		}},
		{"scanner", outsidePhones, "192.0.2.66:5060", msg{method: "OPTIONS", agent: "friendly-scanner"}.bytes(), nil},
		{"malformed", outsidePhones, phone, msg{extra: "Content-Length: 9\r\n"}.bytes(), nil},
		{"garbage", outsidePhones, phone, msg{extra: "Content-Length: 9\r\n"}.bytes(), func(g *Guard) {
			send(g, noon, outsidePhones, phone, msg{extra: "Content-Length: 9\r\n"}.bytes())
		}},
		{"keep-alive", outsidePhones, "192.0.2.66:5060", []byte("\r\n\r\n"), nil},
		{"trunk", outsideTrunks, "203.0.113.20:5060", msg{}.bytes(), nil},
		{"unknown-trunk", outsideTrunks, "192.0.2.66:5060", msg{}.bytes(), nil},
		{"budget", outsidePhones, "192.0.2.66:5060", register.bytes(), func(g *Guard) {
			for n := range uint32(200) {
				passing(g, noon, outsidePhones, addr4(0x0B000000+n).String(), "REGISTER", 1)
			}
		}},
		{"response", insideTrunks, "10.0.0.10:5060", msg{status: 200}.bytes(), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			conf := config()
			g := newGuard(t, &conf)
			if c.before != nil {
				c.before(g)
			}
			p := packetOf(noon.Add(time.Second), c.door, c.source, c.data)
			x := g.Try(p.Now, p)
			got := x.Text()
			path := filepath.Join("testdata", "try", c.name+".txt")
			if *update {
				must(t, os.MkdirAll(filepath.Dir(path), 0o755))
				must(t, os.WriteFile(path, []byte(got), 0o644))
			}
			want, err := os.ReadFile(path)
			must(t, err)
			if got != string(want) {
				t.Errorf("%s:\n%s\nwant\n%s", c.name, got, want)
			}
			if _, err := json.Marshal(x); err != nil {
				t.Error(err)
			}
			compareTrial(t, g, p, &x)
		})
	}
}

// compareTrial holds a trial against what the message then meets.
func compareTrial(t interface{ Fatalf(string, ...any) }, g *Guard, p *Packet, x *Trial) {
	v := g.Check(p)
	if x.Action != v.Action.String() || x.Code != v.Code || x.Reason != v.Reason || x.Retry != v.RetryAfter || x.Ban != v.Ban {
		t.Fatalf("foretold %s %d %s, it met %s\n%s", x.Action, x.Code, x.Reason, says(v), x.Text())
	}
	if info, ok := g.Rules().Rule(v.Rule); ok != (x.Rule != nil) || ok && x.Rule.Path != info.Path {
		t.Fatalf("foretold rule %v, it met %+v", x.Rule, info)
	}
	if v.Action == Ignore {
		return
	}
	decided := 0
	for i, f := range x.Steps {
		if f.Decides {
			decided++
		}
		if f.Number != i+1 || f.Found == "" || (f.Found == notReached) != (decided > 0 && !f.Decides) {
			t.Fatalf("step %+v", f)
		}
	}
	if goesOn := v.Action == Allow && v.Reason != "live-dialog"; (decided == 0) != goesOn || decided > 1 {
		t.Fatalf("%d steps decide, and it meets %s\n%s", decided, says(v), x.Text())
	}
}

// TestTryForetellsCheck asks before each message of a random run what it would meet, and that asking changes nothing.
func TestTryForetellsCheck(t *testing.T) {
	sources := []string{"192.0.2.66", "198.51.100.7", "203.0.113.20", "10.0.0.10", "10.9.9.9", "2001:db8::1"}
	rapid.Check(t, func(t *rapid.T) {
		c := drawTwinConfig(t)
		g := newGuard(&testing.T{}, c)
		now := noon
		for n := range rapid.IntRange(1, 80).Draw(t, "messages") {
			now = now.Add(time.Duration(rapid.IntRange(0, 4).Draw(t, "step")) * 250 * time.Millisecond)
			source := rapid.SampledFrom(sources).Draw(t, "source")
			m := msg{method: rapid.SampledFrom([]string{"INVITE", "REGISTER", "OPTIONS", "ACK", "BYE"}).Draw(t, "method"), branch: fmt.Sprint("z9hG4bK", n/2),
				toTag: rapid.SampledFrom([]string{"", "our1"}).Draw(t, "to"), agent: rapid.SampledFrom([]string{"", "fine", "Evil phone", "odd"}).Draw(t, "agent")}
			switch rapid.IntRange(0, 12).Draw(t, "extra") {
			case 0:
				m.extra = "Content-Length: 99\r\n"
			case 1, 2:
				m.extra = "Authorization: Digest nonce=\"x\"\r\n"
			case 3:
				m.status = 200
			case 4:
				g.Live().Add("our1", netip.MustParseAddr(source))
			case 5:
				g.Challenged(now, addrPort(source), "x")
			case 6:
				registerPhones(g, source, 2)
			}
			door := rapid.SampledFrom([]*nat.Interface{outsidePhones, outsideTrunks, insidePhones, insideTrunks}).Draw(t, "door")
			p := packetOf(now, door, source, m.bytes())
			x := g.Try(now, p)
			if again := g.Try(now, p); again.Text() != x.Text() {
				t.Fatalf("asking changed something:\n%s\n%s", x.Text(), again.Text())
			}
			compareTrial(t, g, p, &x)
		}
	})
}

func TestTrialsAreSafeToPrint(t *testing.T) {
	g := newGuard(t, &Config{})
	data := strings.ReplaceAll(string(msg{agent: "a\tb\xff\xfe\x80"}.bytes()), "204@", "\xc2\x9b31m@")
	p := packetOf(noon, outsidePhones, phone, []byte(data))
	x := g.Try(noon, p)
	text := x.Text()
	for _, c := range []byte(strings.ReplaceAll(strings.ReplaceAll(text, "\n", ""), "·", "")) {
		if c < ' ' || c > '~' {
			t.Fatalf("%q", text)
		}
	}
}
