package sbc_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat/natlab"
	"sallyport/sbc/api"
	"sallyport/sbc/message"
)

const (
	outsideSIP = "outside/trunks udp 203.0.113.10:5080"
	insideSIP  = "inside/trunks udp 10.0.0.2:5080"
)

// both checks that a capture has the signalling of both legs, each message once.
func both(t *testing.T, list []taped, call string, methods ...string) {
	t.Helper()
	for _, face := range []string{outsideSIP, insideSIP} {
		for _, start := range methods {
			if n := count(list, func(x taped) bool {
				return x.face == face && bytes.HasPrefix(x.data, []byte(start)) && (call == "" || strings.HasPrefix(x.comment, "call "+call))
			}); n != 1 {
				t.Errorf("%s: %d times %s", face, n, start)
			}
		}
	}
}

// TestCaptureOfAnAddress: a call that comes later, with both legs' SIP and media, what was not relayed, and no secret; and
// what the guard refused of a stranger.
func TestCaptureOfAnAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		began := time.Now()
		p := l.capture(api.CaptureRequest{Subject: providerAt.Addr().String(), Media: true, UID: 7})
		q := l.capture(api.CaptureRequest{Subject: "203.0.113.64/26"})
		other := l.capture(api.CaptureRequest{Subject: otherPBXAt.Addr().String(), Media: true})
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		caller, callee := l.connect(itsp, pbx, trunkSocket, message.Header{Name: "Authorization", Value: `Digest username="u", response="abcdef"`})
		id := l.callID(t)
		l.pour(20, nil)
		l.relay.Inject(l.door(t, 0), strangerAt, rtp(0, 9))
		if s, err := l.gate.Control(nil).Status(t.Context()); err != nil || len(s.Captures) != 3 || s.Captures[0].UID != 7 || s.Captures[0].Follows != 1 {
			t.Errorf("%v %+v", err, s.Captures)
		}
		hangup(caller, callee)
		stranger := l.wire(strangerAt)
		stranger.send(trunkSocket, stranger.request("INVITE", trunkSocket, "900"))
		list := p.end()
		both(t, list, "", "INVITE ", "SIP/2.0 180", "ACK ", "BYE ")
		both(t, list, id, "SIP/2.0 180", "ACK ", "BYE ")
		for _, c := range []struct {
			face     string
			from, to netip.AddrPort
			sent     bool
		}{
			{"outside media", providerSound, l.doors[0], false}, {"inside media", l.doors[1], pbxSound, true},
			{"inside media", pbxSound, l.doors[1], false}, {"outside media", l.doors[0], providerSound, true},
		} {
			if n := count(list, func(x taped) bool {
				return x.face == c.face && x.from == c.from && x.to == c.to && x.sent == c.sent && x.comment == "call "+id && len(x.data) == 172
			}); n != 20 {
				t.Errorf("%d packets of %+v", n, c)
			}
		}
		if n := count(list, func(x taped) bool { return x.from == strangerAt && x.comment == "call "+id+"; not relayed: source" }); n != 1 {
			t.Errorf("%d packets of the stranger's media", n)
		}
		if n := count(list, func(x taped) bool { return x.at.Before(began) || x.at.After(time.Now()) }); n > 0 {
			t.Errorf("%d packets at another time", n)
		}
		if text := p.file.String(); strings.Contains(text, "abcdef") || !strings.Contains(text, `response="xxxxxx"`) {
			t.Error("a secret is in the file")
		}
		if p.last.Ended != "stopped" || p.last.Lost+p.last.Missed > 0 {
			t.Errorf("%+v", p.last)
		}
		refused := q.end()
		if len(refused) != 1 || !bytes.HasPrefix(refused[0].data, []byte("INVITE ")) || !strings.HasPrefix(refused[0].comment, "refused: ") {
			t.Errorf("of the stranger: %+v", refused)
		}
		if none := other.end(); len(none) != 0 {
			t.Errorf("of somebody who has nothing to do with it: %+v", none)
		}
		l.empty()
	})
}

// TestCaptureOfACallInProgress ends with the call; SRTP is as on the wire or decrypted, and no key is in the file.
func TestCaptureOfACallInProgress(t *testing.T) {
	for _, clear := range []bool{false, true} {
		t.Run(fmt.Sprint("clear ", clear), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				config := rewritten(t, labConfig, "keepalive: { method: none }", "keepalive: { method: none }\n    srtp: required")
				l := newGate(t, config, natlab.Options{Seed: 1})
				defer l.close()
				itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
				outside, inside := &sealed{profile: "RTP/SAVP", suite: "AES_CM_128_HMAC_SHA1_80", letter: 'o'}, &sealed{profile: "RTP/AVP"}
				c := l.talk(itsp, pbx, trunkSocket, outside.describe(providerAt.Addr(), 4000), inside.describe(pbxAt.Addr(), 4002))
				outside.hears(t, c.shown[0])
				inside.hears(t, c.shown[1])
				p := l.capture(api.CaptureRequest{Subject: l.callID(t), Media: true, Clear: clear})
				l.pour(5, &[2]*sealed{outside, inside})
				m := withBody(c.caller.within("INVITE", 0), hold(outside.describe(providerAt.Addr(), 4000)))
				c.caller.send(c.caller.gate, m)
				pbx.reply(pbx.want("INVITE"), 200, append(inside.describe(pbxAt.Addr(), 4002), "a=recvonly\r\n"...))
				itsp.want("200 INVITE")
				itsp.send(c.caller.gate, c.caller.within("ACK", m.CSeq))
				pbx.want("ACK")
				hangup(c.caller, c.callee)
				list := p.read()
				if p.last.Ended != "the call is over" {
					t.Errorf("%+v", p.last)
				}
				both(t, list, "", "INVITE ", "ACK ", "BYE ")
				plain := count(list, func(x taped) bool { return x.face == "outside media" && len(x.data) == 172 })
				protected := count(list, func(x taped) bool { return x.face == "outside media" && len(x.data) == 182 })
				if clear && (plain != 10 || protected != 0) || !clear && (plain != 0 || protected != 10) {
					t.Errorf("%d plain packets, %d protected ones", plain, protected)
				}
				if n := count(list, func(x taped) bool { return x.face == "inside media" && len(x.data) == 172 }); n != 10 {
					t.Errorf("%d packets inside", n)
				}
				text := p.file.String()
				if strings.Contains(text, base64.StdEncoding.EncodeToString(outside.key())) || !strings.Contains(text, "inline:xxxx") {
					t.Error("a key is in the file")
				}
				if strings.Contains(text, "AES_CM_128") == clear || strings.Contains(text, " RTP/SAVP ") == clear {
					t.Error("whoever reads the file takes the media for what it is not")
				}
				l.empty()
			})
		})
	}
}

// TestCaptureOfAPhone: what names it, on both sides, and nothing else.
func TestCaptureOfAPhone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		p := l.capture(api.CaptureRequest{Subject: "204@example.com"})
		phone := l.wire(netip.MustParseAddrPort("198.51.100.7:5062"))
		pbx := l.wire(pbxAt)
		at := netip.AddrPortFrom(gateOutside, 5060)
		for _, user := range []string{"204", "205", "%3204"} {
			m := phone.request("REGISTER", at, user)
			m.From.URI.User, m.From.URI.Host = user, "example.com"
			m.To.URI.User, m.To.URI.Host = user, "example.com"
			m.From.Display = `"sip:204@example.com"` // it is for people, whatever they take it for
			m.Add("Contact", "<sip:"+user+"@198.51.100.7:5062>")
			phone.send(at, m)
			pbx.want("REGISTER")
		}
		list := p.end()
		from := func(face, user string) int {
			return count(list, func(x taped) bool {
				return strings.HasPrefix(x.face, face) && bytes.HasPrefix(x.data, []byte("REGISTER ")) && bytes.Contains(x.data, []byte("<sip:"+user+"@example.com"))
			})
		}
		for _, user := range []string{"204", "%3204"} {
			if from("outside/phones", user) == 0 || from("inside/phones", user) == 0 {
				t.Errorf("its own as %s: %d and %d", user, from("outside/phones", user), from("inside/phones", user))
			}
		}
		if n := count(list, func(x taped) bool { return bytes.Contains(x.data, []byte("<sip:205@example.com")) }); n > 0 {
			t.Errorf("%d messages of another phone", n)
		}
	})
}

// TestCaptureIsBounded: in time, size, number and memory; and what is lost is told.
func TestCaptureIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		caller, callee := l.connect(itsp, pbx, trunkSocket)
		about := api.CaptureRequest{Subject: l.callID(t), Media: true}
		timed, small := about, about
		timed.For, small.Max = time.Second, 4000
		slow := l.capture(about, func(p *tape) { p.hold = make(chan struct{}) })
		ends := map[string]*tape{"the time is over": l.capture(timed), "the size is reached": l.capture(small)}
		gone := l.capture(about)
		if fifth := l.capture(about); !isStatus(fifth.err, http.StatusTooManyRequests) {
			t.Errorf("a fifth one: %v", fifth.err)
		}
		l.pour(100, nil)
		for why, p := range ends {
			if p.read(); p.last.Ended != why || p.last.RTP == 0 || p.file.Len() > 10_000 && why == "the size is reached" {
				t.Errorf("%+v, %d bytes, want: %s", p.last, p.file.Len(), why)
			}
		}
		if list := gone.end(); len(list) != 400 {
			t.Errorf("%d packets", len(list))
		}
		for range 10_000 { // two copies of each pair at least
			l.relay.Inject(l.door(t, 0), providerSound, rtp(0, 7))
			l.relay.Inject(l.door(t, 1), pbxSound, rtp(0, 7))
		}
		close(slow.hold)
		slow.end()
		if slow.last.Lost == 0 || slow.last.RTP == 0 || slow.last.RTP+slow.last.Lost < 20_400 {
			t.Errorf("%+v", slow.last)
		}
		s, err := l.gate.Control(nil).Status(t.Context())
		told := false
		for _, g := range s.Audit {
			told = told || g.Name == "captured packets lost" && g.Value == int64(slow.last.Lost)
		}
		if err != nil || !told || len(s.Captures) > 0 {
			t.Errorf("%v %+v %+v", err, s.Audit, s.Captures)
		}
		hangup(caller, callee)
		l.empty()
	})
}

func isStatus(err error, status int) bool {
	e, ok := errors.AsType[*api.Error](err)
	return ok && e.Status == status
}

// TestCaptureEndsWithTheProgram, whole, and with its client.
func TestCaptureEndsWithTheProgram(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		p := l.capture(api.CaptureRequest{Subject: providerAt.Addr().String()})
		ctx, cancel := context.WithCancel(t.Context())
		q := &tape{t: t, gate: l.gate, begun: make(chan api.Capture, 1), over: make(chan struct{})}
		go func() {
			q.last, q.err = l.gate.Control(nil).Capture(ctx, api.CaptureRequest{Subject: "192.0.2.0/24", For: time.Hour, Max: 1 << 20}, q)
			close(q.over)
		}()
		<-q.begun
		cancel()
		if q.read(); q.last.Ended != "the client has gone" {
			t.Errorf("%+v", q.last)
		}
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		l.connect(itsp, pbx, trunkSocket)
		l.stopGate()
		list := p.read()
		both(t, list, "", "INVITE ")
		if n := count(list, func(x taped) bool { return bytes.HasPrefix(x.data, []byte("BYE ")) }); n < 2 || p.last.Ended != "the program ends" {
			t.Errorf("%d farewells, %+v", n, p.last)
		}
	})
}

// TestCaptureRefuses what makes no sense.
func TestCaptureRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		for _, c := range []struct {
			q      api.CaptureRequest
			status int
		}{
			{api.CaptureRequest{Subject: "no such call"}, http.StatusNotFound},
			{api.CaptureRequest{Subject: "204@elsewhere.example"}, http.StatusNotFound},
			{api.CaptureRequest{Subject: "192.0.2.1", For: -1}, http.StatusBadRequest},
			{api.CaptureRequest{Subject: "192.0.2.1", For: 25 * time.Hour}, http.StatusBadRequest},
			{api.CaptureRequest{Subject: "192.0.2.1", Max: 100}, http.StatusBadRequest},
			{api.CaptureRequest{Subject: "192.0.2.1", Clear: true}, http.StatusBadRequest},
		} {
			if p := l.capture(c.q); !isStatus(p.err, c.status) {
				t.Errorf("%+v: %v", c.q, p.err)
			}
		}
		if err := l.gate.Control(nil).StopCapture(t.Context(), 5); !isStatus(err, http.StatusNotFound) {
			t.Error(err)
		}
	})
}
