package sbc_test

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap/zapcore"

	"sallyport/nat"
	"sallyport/nat/natlab"
	"sallyport/sbc"
	"sallyport/sbc/demo"
	"sallyport/sbc/message"
)

// withAccount is accountConfig with another account.
func withAccount(t *testing.T, account string) string {
	t.Helper()
	return rewritten(t, accountConfig,
		`registration: { registrar: sip.example.net, proxy: "203.0.113.20:5060", username: "4930555", auth_username: login, password: s3cret }`, account)
}

// TestRegistrarsByName: of the places that a name leads to the next one takes over, calls go where the registration is, and the
// first is come back to.
func TestRegistrarsByName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		yaml := withAccount(t, `registration: { registrar: sip.provider.example, username: "4930555", auth_username: login, password: s3cret }`)
		s := newSubscriber(t, yaml, strict, func(o *sbc.Options) { o.DNS = twoPlaces(t) })
		defer s.close()
		other := s.agent("other", secondAt, 13)
		var at []string
		answers := func(a *demo.Agent) {
			s.answering(a, func(*message.Message) demo.Script {
				at = append(at, a.Name)
				return demo.Script{Answer: time.Second, SDP: sdpAt(a.Addr.Addr(), 4000)}
			})
		}
		answers(s.provider)
		answers(other)
		other.Do(func() { other.Outside = s.office.answer })
		full := false // of the provider's goroutine
		s.provider.Do(func() {
			s.provider.Outside = func(m *message.Message) *message.Message {
				if full && m.Method == "REGISTER" {
					return message.Reply(m, 503, "")
				}
				return s.office.answer(m)
			}
		})
		out := func(want string) {
			t.Helper()
			synctest.Wait()
			at = nil
			r := s.call(s.pbx, pbxSocket, "+4930123", demo.Script{SDP: sdpAt(pbxAt.Addr(), 4002), Hangup: time.Second})
			synctest.Wait()
			if r.Code != 200 || strings.Join(at, " ") != want {
				t.Errorf("heard %d (%s), from %v, want %s", r.Code, r.Why, at, want)
			}
		}
		time.Sleep(time.Minute)
		if is := s.trunk(); is.State != "registered" || is.Address != providerAt.String() {
			t.Fatalf("%+v", is)
		}
		out("provider")
		synctest.Wait()
		s.provider.Do(func() { full = true })
		time.Sleep(10 * time.Minute)
		if is := s.trunk(); is.State != "registered" || is.Address != secondAt.String() || s.said("registered at another address") != 1 {
			t.Fatalf("%+v", is)
		}
		out("other")
		if r := s.calledBy(other); r.Code != 200 {
			t.Errorf("the provider heard %d (%s)", r.Code, r.Why)
		}
		s.provider.Do(func() { full = false })
		time.Sleep(30 * time.Minute)
		if is := s.trunk(); is.Address != providerAt.String() {
			t.Errorf("%+v", is)
		}
		out("provider")
	})
}

// TestCallsAreChallenged: by the realm that has accepted us, and answered in it from that moment on.
func TestCallsAreChallenged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		yaml := withAccount(t, `registration: { registrar: sip.example.net, proxy: "203.0.113.20:5060", username: "4930555", password: s3cret }`)
		s := newSubscriber(t, yaml, strict)
		defer s.close()
		reg := &demo.Registrar{Domain: "sip.example.net", Users: map[string]string{"4930555": "s3cret"}, Calls: true, Expires: 10 * time.Minute}
		s.provider.Do(func() { s.provider.Outside, s.provider.Registrar = nil, reg })
		var invite *message.Message
		s.answering(s.provider, func(m *message.Message) demo.Script {
			invite = m
			return demo.Script{Answer: time.Second, SDP: sdpAt(providerAt.Addr(), 4000)}
		})
		for range 1000 {
			time.Sleep(10 * time.Millisecond)
			if s.trunk().State == "registered" {
				break
			}
		}
		time.Sleep(10 * time.Millisecond)
		r := s.call(s.pbx, pbxSocket, "+4930123", demo.Script{SDP: sdpAt(pbxAt.Addr(), 4002), Hangup: time.Second})
		synctest.Wait()
		if r.Code != 200 || invite == nil {
			t.Fatalf("the PBX heard %d (%s)", r.Code, r.Why)
		}
		if v, _ := invite.Get("Proxy-Authorization"); !strings.Contains(v, `realm="sip.example.net"`) || !strings.Contains(v, `username="4930555"`) {
			t.Error(v)
		}
		s.empty()
	})
}

// TestTheDialledNumber: the provider calls our Contact, and names the number that was dialled elsewhere.
func TestTheDialledNumber(t *testing.T) {
	for _, tt := range []struct{ name, called, header, want string }{
		{"our Contact, and To says it", "0301234", "", "0301234"},
		{"P-Called-Party-ID says it better", "0301234", "P-Called-Party-ID: <sip:+49309999;npdi@example.net>", "+49309999"},
		{"nothing says it", "4930555", "", "4930555"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSubscriber(t, accountConfig, strict)
				defer s.close()
				time.Sleep(5 * time.Second)
				at, err := netip.ParseAddrPort(s.trunk().SeenAs)
				if err != nil {
					t.Fatal(err)
				}
				var got *message.Message
				s.answering(s.pbx, func(m *message.Message) demo.Script {
					got = m
					return demo.Script{Answer: time.Second, SDP: sdpAt(pbxAt.Addr(), 4002)}
				})
				more := ""
				if tt.header != "" {
					more = tt.header + "\r\n"
				}
				invite := "INVITE sip:4930555@" + at.String() + " SIP/2.0\r\nVia: SIP/2.0/UDP 203.0.113.20:5060;branch=z9hG4bKdid\r\n" +
					"From: <sip:+4940777@sip.example.net>;tag=1\r\nTo: <sip:" + tt.called + "@sip.example.net>\r\nCall-ID: did\r\nCSeq: 1 INVITE\r\n" +
					"Contact: <sip:203.0.113.20>\r\nMax-Forwards: 70\r\n" + more + "Content-Type: application/sdp\r\nContent-Length: "
				sdp := string(sdpAt(providerAt.Addr(), 4000))
				if err := s.net.Inject(providerAt, at, []byte(invite+strconv.Itoa(len(sdp))+"\r\n\r\n"+sdp)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(500 * time.Millisecond)
				synctest.Wait()
				if got == nil || got.URI.User != tt.want {
					t.Errorf("the PBX hears of %v, want %s", got, tt.want)
				}
			})
		})
	}
}

// TestOverAConnection: the registrar calls by the connection that we have opened, and one that is lost is replaced at once.
func TestOverAConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		yaml := withAccount(t, `registration: { registrar: sip.example.net, proxy: "203.0.113.20:5062", transport: tcp, username: "4930555", auth_username: login, password: s3cret }`)
		s := newSubscriber(t, rewritten(t, yaml, "trunks: { udp: 5080 } }\ninside", "trunks: { udp: 5080, tcp: 5080 } }\ninside"), strict)
		defer s.close()
		at := netip.AddrPortFrom(providerAt.Addr(), 5062)
		listener, err := s.net.Host(at.Addr()).ListenStream(at)
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		connected := make(chan net.Conn, 8)
		s.running.Go(func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				connected <- conn
			}
		})
		next := func(seed byte) (*demo.Agent, net.Conn) {
			t.Helper()
			select {
			case conn := <-connected:
				a := demo.NewAgent("provider", at, demo.NewStream(conn, nat.TCP), seed)
				a.Number, a.Outside = "0301234", s.office.answer
				s.running.Go(func() { a.Run(s.ctx) })
				time.Sleep(2 * time.Second)
				return a, conn
			case <-time.After(10 * time.Second):
				t.Fatal("nobody has connected")
				return nil, nil
			}
		}
		a, conn := next(20)
		list := s.office.contacts()
		if is := s.trunk(); is.State != "registered" || len(list) != 1 || list[0].String() != "sip:4930555@"+gateBox.String()+":5080;transport=tcp" {
			t.Fatalf("%+v, %v", is, list)
		}
		time.Sleep(5 * time.Minute)
		if r := s.call(a, netip.MustParseAddrPort(conn.RemoteAddr().String()), "4930555", demo.Script{SDP: sdpAt(at.Addr(), 4000), Hangup: time.Second}); r.Code != 200 {
			t.Errorf("the provider heard %d (%s)", r.Code, r.Why)
		}
		s.office.visited()
		conn.Close()
		a, conn = next(21)
		if visits := s.office.visited(); len(visits) == 0 || s.trunk().State != "registered" {
			t.Errorf("%v %+v", visits, s.trunk())
		}
		if r := s.call(a, netip.MustParseAddrPort(conn.RemoteAddr().String()), "4930555", demo.Script{SDP: sdpAt(at.Addr(), 4000), Hangup: time.Second}); r.Code != 200 {
			t.Errorf("the provider heard %d (%s)", r.Code, r.Why)
		}
		conn.Close()
	})
}

// TestServiceRoute: calls take the way that the registrar wants.
func TestServiceRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSubscriber(t, accountConfig, strict)
		defer s.close()
		s.provider.Do(func() {
			s.provider.Outside = func(m *message.Message) *message.Message {
				out := s.office.answer(m)
				if out != nil && out.Status == 200 {
					out.Add("Service-Route", "<sip:edge.example.net;lr>")
				}
				return out
			}
		})
		route := ""
		s.answering(s.provider, func(m *message.Message) demo.Script {
			route, _ = m.Get("Route")
			return demo.Script{Answer: time.Second, SDP: sdpAt(providerAt.Addr(), 4000)}
		})
		time.Sleep(time.Minute)
		r := s.call(s.pbx, pbxSocket, "+4930123", demo.Script{SDP: sdpAt(pbxAt.Addr(), 4002), Hangup: time.Second})
		synctest.Wait()
		if r.Code != 200 || route != "<sip:edge.example.net;lr>" {
			t.Errorf("the PBX heard %d (%s), Route %s", r.Code, r.Why, route)
		}
	})
}

// TestEmptyLinesKeepTheTrunkOpen: without one OPTIONS, behind a NAT that forgets after 30 s.
func TestEmptyLinesKeepTheTrunkOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSubscriber(t, rewritten(t, accountConfig, "keepalive: { interval: 20s }", "keepalive: { method: crlf, interval: 20s }"), strict)
		defer s.close()
		lines, options := 0, 0
		s.net.Observe(func(d natlab.Datagram) {
			switch {
			case d.Dst != providerAt:
			case string(d.Payload) == "\r\n\r\n":
				lines++
			case strings.HasPrefix(string(d.Payload), "OPTIONS"):
				options++
			}
		})
		time.Sleep(time.Hour + 5*time.Minute)
		r := s.called()
		synctest.Wait()
		if r.Code != 200 || options != 0 || lines < 150 {
			t.Errorf("the provider heard %d (%s); %d empty lines, %d OPTIONS", r.Code, r.Why, lines, options)
		}
	})
}

// TestARefusalIsToldOnce: in the log one warning for each reason, and `sbc why` has it, too; the registrar is not asked again because it
// answers its first OPTIONS.
func TestARefusalIsToldOnce(t *testing.T) {
	for _, tt := range []struct {
		name   string
		set    func(o *office)
		visits int // in the first 25 seconds
		said   string
	}{
		{"a wrong password", func(o *office) { o.password = "another" }, 2, "403 Forbidden (password refused?)"},
		{"nobody asks for one", func(o *office) {
			o.refuse = func(m *message.Message) *message.Message { return message.Reply(m, 403, "") }
		}, 1, "403 Forbidden"},
		{"unknown", func(o *office) {
			o.refuse = func(m *message.Message) *message.Message { return message.Reply(m, 404, "") }
		}, 1, "404 Not Found"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSubscriber(t, strings.Replace(accountConfig, "interval: 20s", "interval: 10s", 1), strict)
				defer s.close()
				s.office.set(func() { tt.set(s.office) })
				began := time.Now()
				s.provider.Do(func() {
					s.provider.Outside = func(m *message.Message) *message.Message {
						if m.Method == "OPTIONS" && time.Since(began) < 5*time.Second {
							return message.Reply(m, 503, "") // no word of life yet: that comes when REGISTER has been refused
						}
						return s.office.answer(m)
					}
				})
				time.Sleep(14 * time.Second) // the back-off is 30 s at least
				if is := s.trunk(); is.State != "refused" || is.Answer != tt.said {
					t.Fatalf("%+v", is)
				}
				if n := len(s.office.visited()); n != tt.visits {
					t.Errorf("%d REGISTERs", n)
				}
				time.Sleep(2 * time.Hour)
				var warnings []string
				for _, e := range s.logs.FilterLevelExact(zapcore.WarnLevel).All() {
					warnings = append(warnings, e.Message)
				}
				if len(warnings) != 1 || !strings.HasPrefix(warnings[0], "registration failed: "+tt.said) {
					t.Errorf("%d warnings: %q", len(warnings), warnings)
				}
				if w := s.why(providerAt.Addr().String()); !strings.Contains(w, "registration of trunk itsp: "+tt.said) {
					t.Error(w)
				}
			})
		})
	}
}
