package capture

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/api"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/trace"
	"sallyport/sbc/userpart"
)

// TestNobodyCaptures: what readers and the core ask costs no allocation then, of a Set that there is not either.
func TestNobodyCaptures(t *testing.T) {
	s := newStage()
	ended := s.begin(t, api.CaptureRequest{Subject: "192.0.2.0/24"})
	if !s.set.Running() {
		t.Error("a capture is under way")
	}
	s.set.end(ended)
	b := sip("INVITE", "a-call-id-that-is-longer-than-any-small-buffer-on-the-stack", plain...)
	p := came(stranger, b)
	for name, set := range map[string]*Set{"none": nil, "before": newStage().set, "after": s.set} {
		n := testing.AllocsPerRun(200, func() {
			v := policy.Verdict{Action: policy.Drop, Reason: reason.Ban, Rule: -1, Shadow: -1, Alarm: -1}
			set.Heard(p, &v)
			set.Answered(outside, stranger, b)
			set.Sent(inside, node, b)
			set.Ended(7)
			if set.Running() || set.Asks(stranger.Addr()) {
				t.Error("it says that somebody captures")
			}
		})
		if n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	equal(t, "after its end", noted(ended))
}

// TestAskingCostsNothing: whether a source that floods is looked at is asked for each of its datagrams.
func TestAskingCostsNothing(t *testing.T) {
	s := newStage()
	s.begin(t, api.CaptureRequest{Subject: "204"})
	s.begin(t, api.CaptureRequest{Subject: "192.0.2.64/26"})
	for _, c := range []struct {
		source string
		want   bool
	}{
		{"192.0.2.66", true}, {"::ffff:192.0.2.66", true}, {"192.0.2.1", false}, {"2001:db8::1", false},
	} {
		source := netip.MustParseAddr(c.source)
		if got := s.set.Asks(source); got != c.want {
			t.Errorf("%s: %v", c.source, got)
		}
		if n := testing.AllocsPerRun(100, func() { s.set.Asks(source) }); n != 0 {
			t.Errorf("%s: %v allocations", c.source, n)
		}
	}
}

// TestHeard: what belongs to a subject, with what the guard said to it.
func TestHeard(t *testing.T) {
	refused := &policy.Verdict{Action: policy.Drop, Reason: reason.MessageRule, Rule: 0, Shadow: -1, Alarm: -1}
	unruled := &policy.Verdict{Action: policy.Reject, Reason: reason.UnknownTrunk, Rule: -1, Shadow: -1, Alarm: -1}
	ignored := &policy.Verdict{Action: policy.Ignore, Rule: -1, Shadow: -1, Alarm: -1}
	phone := []string{`From: "x:y" <sip:204@EXAMPLE.com:5060>;tag=1`, "To: <sip:9@example.com>"}
	called := []string{"From: <sip:9@example.com>;tag=1", "To: <sip:204@example.com>"}
	mapped := netip.AddrPortFrom(netip.AddrFrom16(stranger.Addr().As16()), 9)
	link := netip.MustParseAddrPort("[fe80::1%eth0]:5060")
	for _, c := range []struct {
		subject string
		from    netip.AddrPort
		data    []byte
		verdict *policy.Verdict
		want    string
	}{
		{"192.0.2.66", stranger, sip("INVITE", "x", plain...), allowed(), "192.0.2.66:5060 > 203.0.113.10:5080 INVITE sip:a@b SIP/2.0"},
		{"192.0.2.66", provider, sip("INVITE", "x", plain...), allowed(), ""},
		{"192.0.2.66", mapped, sip("INVITE", "x", plain...), allowed(), "[::ffff:192.0.2.66]:9 > 203.0.113.10:5080 INVITE sip:a@b SIP/2.0"},
		{"fe80::1", link, sip("INVITE", "x", plain...), allowed(), "[fe80::1%eth0]:5060 > 203.0.113.10:5080 INVITE sip:a@b SIP/2.0"},
		{"192.0.2.0/24", stranger, sip("INVITE", "x", plain...), refused, "192.0.2.66:5060 > 203.0.113.10:5080 INVITE sip:a@b SIP/2.0 | refused: message-rule (policy.message_rules[0])"},
		{"192.0.2.0/24", stranger, sip("INVITE", "x", plain...), unruled, "192.0.2.66:5060 > 203.0.113.10:5080 INVITE sip:a@b SIP/2.0 | refused: unknown-trunk"},
		{"192.0.2.0/24", stranger, []byte("\r\n\r\n"), ignored, "192.0.2.66:5060 > 203.0.113.10:5080  | no message"},
		{"192.0.2.0/24", stranger, []byte("\x00\xff"), ignored, "192.0.2.66:5060 > 203.0.113.10:5080 \x00\xff | no message"},
		{"call-7", stranger, sip("BYE", "in-7", plain...), allowed(), "192.0.2.66:5060 > 203.0.113.10:5080 BYE sip:a@b SIP/2.0 | call call-7"},
		{"call-7", stranger, sip("BYE", "in-7", plain...), unruled, "192.0.2.66:5060 > 203.0.113.10:5080 BYE sip:a@b SIP/2.0 | call call-7; refused: unknown-trunk"},
		{"call-7", provider, sip("BYE", "in-8", plain...), allowed(), ""},
		{"out-7", provider, sip("200", "in-7", plain...), allowed(), "203.0.113.20:5060 > 203.0.113.10:5080 SIP/2.0 200 Said | call call-7"},
		{"204@example.com", stranger, sip("REGISTER", "x", phone...), allowed(), "192.0.2.66:5060 > 203.0.113.10:5080 REGISTER sip:a@b SIP/2.0"},
		{"204", provider, sip("INVITE", "x", called...), allowed(), "203.0.113.20:5060 > 203.0.113.10:5080 INVITE sip:a@b SIP/2.0"},
		{"204", provider, sip("INVITE", "x", plain...), allowed(), ""},
	} {
		s := newStage()
		s.compile(t, 1)
		s.call(7)
		x := s.begin(t, api.CaptureRequest{Subject: c.subject})
		p := came(c.from, c.data)
		s.set.Heard(p, c.verdict)
		clear(c.data) // the reader's buffer
		if got := strings.Join(noted(x), "\n"); got != c.want {
			t.Errorf("%s: got %q, want %q", c.subject, got, c.want)
		}
	}
}

// TestNames: a phone is meant by From or To with any domain that we serve, however its user is spelt there, and by nothing that only
// looks like it.
func TestNames(t *testing.T) {
	s := newStage()
	for value, want := range map[string]bool{
		"<sip:204@example.com>;tag=1":                                true,
		"sip:204@example.com":                                        true,
		"sip:204@example.com;tag=1":                                  true,
		"sips:204@Example.COM:5061":                                  true,
		"<sip:204@example.com;transport=tcp>":                        true,
		"<sip:204@example.com?Subject=x>":                            true,
		"<sip:204:secret@example.com>":                               true,
		"<sip:204;phone-context=x@example.com>":                      true,
		"<sip:%3204@example.com>":                                    true, // RFC 3261 §19.1.4
		"<sip:%32%30%34@example.com>;tag=1":                          true,
		`"sip:205@example.com" <sip:204@example.com>`:                true,
		`"a:b:c" <sip:204@example.com>`:                              true,
		`"sip:204@elsewhere.example" <sip:204@example.com>;tag=1`:    true,
		`"\" <sip:205@example.com>" <sip:204@example.com>`:           true,
		`"sip:204@example.com" <sip:999@example.com>`:                false, // RFC 3261 §20.10: it is for people
		`"sip:204@example.com" <sip:999@elsewhere.example>;tag=1`:    false,
		`"<sip:204@example.com>" <sip:999@example.com>`:              false,
		"<sip:999@example.com>;x=\"<sip:204@example.com>\"":          false,
		"<sip:999@elsewhere.example;maddr=x?To=sip:204@example.com>": false,
		"<sip:204@elsewhere.example>":                                false,
		"<sip:%2204@example.com>":                                    false,
		"<sip:2040@example.com>":                                     false,
		"<sip:1204@example.com>":                                     false,
		"<sip:204@example.com.evil.example>":                         false,
		"<sip:204>":                                                  false,
		"<sip:204":                                                   false,
		"":                                                           false,
		":":                                                          false,
		":::":                                                        false,
		"sip:204@":                                                   false,
	} {
		if got := s.set.names("204@example.com", []byte(value)); got != want {
			t.Errorf("%q: %v", value, got)
		}
	}
	for word, value := range map[string]string{"%3204@example.com": "<sip:204@example.com>", "Alice@example.com": "<sip:%61LICE@example.com>"} {
		if !s.set.names(word, []byte(value)) {
			t.Errorf("%q does not name %s", value, word)
		}
	}
}

// FuzzNames: strangers write these fields. Where the strict reader reads a SIP URI, both see the same user in it.
func FuzzNames(f *testing.F) {
	for _, seed := range []string{
		"<sip:204@example.com>;tag=1", `"sip:204@x" <sip:204@example.com>`, "sip:204@example.com:5060;a=b", ":204@", "::", "sip:%32%30%34@example.com",
		`"\"<sip:204@example.com>" <sip:999@x>`, "sip:204:pw@example.com;x", "<sip:204;a=b@[2001:db8::1]:5060>",
	} {
		f.Add([]byte(seed))
	}
	s := newStage()
	f.Fuzz(func(t *testing.T, value []byte) {
		got := s.set.names("204@example.com", value)
		n, err := message.ParseNameAddr(string(value))
		if err != nil || n.URI.Scheme != "sip" && n.URI.Scheme != "sips" {
			return
		}
		user, _, _ := strings.Cut(n.URI.User, ":")
		user, _, _ = strings.Cut(user, ";")
		if want := userpart.Plain(user) == "204" && strings.EqualFold(n.URI.Host, "example.com"); got != want {
			t.Errorf("%q names 204: %v, but it is %q at %q", value, got, user, n.URI.Host)
		}
	})
}

// TestCallsOfAPhone: its calls are followed however the phone has spelt its user when it registered.
func TestCallsOfAPhone(t *testing.T) {
	for aor, want := range map[string]bool{"204@example.com": true, "%3204@example.com": true, "2040@example.com": false, "": false} {
		s := newStage()
		x := s.call(7)
		x.view.AoR = aor
		c := s.begin(t, api.CaptureRequest{Subject: "204"})
		s.set.Heard(came(stranger, sip("BYE", "in-7", plain...)), allowed())
		if got := len(noted(c)) == 1; got != want {
			t.Errorf("a call of %q is followed: %v", aor, got)
		}
	}
}

// TestAnswered: what a reader says by itself goes the other way, and belongs to the calls of its Call-ID, too.
func TestAnswered(t *testing.T) {
	s := newStage()
	s.call(7)
	of, by, other := s.begin(t, api.CaptureRequest{Subject: "call-7"}), s.begin(t, api.CaptureRequest{Subject: "192.0.2.66"}), s.begin(t, api.CaptureRequest{Subject: "198.51.100.1"})
	s.set.Answered(outside, stranger, sip("503", "out-7", plain...))
	const line = "203.0.113.10:5080 > 192.0.2.66:5060 SIP/2.0 503 Said"
	equal(t, "the call", noted(of), line+" | call call-7")
	equal(t, "the address", noted(by), line)
	equal(t, "another address", noted(other))
}

// TestSent: captures learn of a call by its INVITE, and of what a later description has changed.
func TestSent(t *testing.T) {
	s := newStage()
	c := s.begin(t, api.CaptureRequest{Subject: "203.0.113.20", Media: true})
	described := func(b []byte) []byte { return append(b, "v=0\r\n"...) }
	x := s.call(7, 70)
	x.view.CallIDs[1] = "" // there is no second leg yet
	s.set.Sent(inside, node, sip("INVITE", "in-7", plain...))
	equal(t, "of nobody's Call-ID", noted(c))
	s.set.Sent(outside, provider, sip("100", "out-7", plain...))
	const answer = "203.0.113.10:5080 > 203.0.113.20:5060 SIP/2.0 "
	equal(t, "the first answer", noted(c), answer+"100 Said | call call-7")
	if got := s.told(); got != "70 1" {
		t.Errorf("taps: %s", got)
	}
	x.view.CallIDs[1] = "in-7"
	s.set.Sent(inside, node, sip("INVITE", "in-7", plain...))
	equal(t, "the second leg", noted(c), "10.0.0.2:5080 > 10.0.0.5:5080 INVITE sip:a@b SIP/2.0 | call call-7")
	x.streams = append(x.streams, 71)
	s.set.Sent(outside, provider, sip("180", "out-7", plain...))
	if got := s.told(); got != "" {
		t.Errorf("nothing was described, but: %s", got)
	}
	s.set.Sent(outside, provider, described(sip("200", "out-7", plain...)))
	if got := s.told(); got != "71 1" {
		t.Errorf("taps: %s", got)
	}
	equal(t, "two answers", noted(c), answer+"180 Said | call call-7", answer+"200 Said | call call-7")
	s.set.Sent(outside, provider, []byte("\r\n\r\n"))
	equal(t, "a keep-alive", noted(c), "203.0.113.10:5080 > 203.0.113.20:5060 ")
	s.set.Sent(nil, provider, sip("BYE", "out-7", plain...))
	equal(t, "by an interface that is gone", noted(c))
}

// TestMessageOfAConnection may be longer than what a datagram holds: it is cut.
func TestMessageOfAConnection(t *testing.T) {
	c := newCapture(&api.CaptureRequest{Max: 1 << 30}, subject{}, time.Now())
	at := netip.MustParseAddrPort("203.0.113.10:5061")
	c.note(time.Now(), &nat.Interface{Transport: nat.TLS, Bind: at, Advertised: at}, netip.MustParseAddrPort("[2001:db8::1]:9"), true, "", make([]byte, 1<<20))
	var to tape
	if err := c.empty(trace.NewFile(&to, "", "")); err != nil || c.sip.Load() != 1 || c.size.Load() < messageMost || c.lost() != 0 {
		t.Errorf("%v, %d messages, %d bytes, %d lost", err, c.sip.Load(), c.size.Load(), c.lost())
	}
	if n := to.Len(); n < messageMost || n > messageMost+4096 {
		t.Errorf("a file of %d bytes", n)
	}
}
