package sbc_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/icholy/digest"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"sallyport/nat/natlab"
	"sallyport/sbc"
	"sallyport/sbc/api"
	"sallyport/sbc/demo"
	"sallyport/sbc/message"
	"sallyport/sbc/transport"
)

// The gate of these tests stands behind a NAT in which nothing is open.
var (
	gateHidden = netip.MustParseAddr("192.168.1.2")
	gateBox    = netip.MustParseAddr("198.51.100.7")
	secondAt   = netip.MustParseAddrPort("203.0.113.21:5060")
)

const accountConfig = `
outside: { address: 192.168.1.2, phones: { udp: 5060 }, trunks: { udp: 5080 } }
inside: { address: 10.0.0.2, phones: { udp: 5060 }, trunks: { udp: 5080 } }
media: { ports: 30000-31000 }
pbx: { domain: example.com, nodes: [ { address: "10.0.0.10:5060" } ], health: { interval: 0 } }
trunks:
  - name: itsp
    mode: register
    registration: { registrar: sip.example.net, proxy: "203.0.113.20:5060", username: "4930555", auth_username: login, password: s3cret }
    keepalive: { interval: 20s }
policy: { rate_limits: [] }
`

// office is a provider that knows us by our account.
type office struct {
	mu        sync.Mutex
	algorithm string
	password  string
	grants    int // seconds
	refuse    func(m *message.Message) *message.Message
	nonce     int
	used      map[string]int              // nonces, and their highest count
	bound     map[string]message.NameAddr // by Contact, where we can be called
	visits    []string                    // each REGISTER: its Contacts, Expires and what became of it
}

func newOffice() *office {
	return &office{algorithm: "MD5", password: "s3cret", grants: 600, used: map[string]int{}, bound: map[string]message.NameAddr{}}
}

// answer is the answer to a REGISTER; nil: to another request.
func (o *office) answer(m *message.Message) *message.Message {
	if m.Method != "REGISTER" {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	out := o.judge(m)
	expires, _ := m.Get("Expires")
	list, _, _ := m.Contacts()
	var said []string
	for _, c := range list {
		said = append(said, c.String())
	}
	o.visits = append(o.visits, fmt.Sprintf("%s expires %s: %d", strings.Join(said, " "), expires, out.Status))
	return out
}

func (o *office) judge(m *message.Message) *message.Message {
	if o.refuse != nil {
		if out := o.refuse(m); out != nil {
			return out
		}
	}
	if out := o.challenge(m, 401, "WWW-Authenticate", "Authorization"); out != nil {
		return out
	}
	v, _ := m.Get("Expires")
	asked, _ := strconv.Atoi(v)
	list, _, _ := m.Contacts()
	for _, c := range list {
		if left, ok := c.Param("expires"); asked == 0 || ok && left == "0" {
			delete(o.bound, c.URI.String())
			continue
		}
		o.bound[c.URI.String()] = message.NameAddr{URI: c.URI, Params: ";expires=" + strconv.Itoa(min(asked, o.grants))}
	}
	out := message.Reply(m, 200, "")
	for _, c := range o.bound {
		out.Add("Contact", c.String())
	}
	return out
}

// challenge is what a request without the right credentials gets.
func (o *office) challenge(m *message.Message, code int, field, header string) *message.Message {
	again := func(stale bool) *message.Message {
		o.nonce++
		nonce := "nonce" + strconv.Itoa(o.nonce)
		o.used[nonce] = 0
		out := message.Reply(m, code, "")
		c := digest.Challenge{Realm: "example.net", Nonce: nonce, QOP: []string{"auth"}, Algorithm: o.algorithm, Stale: stale}
		out.Add(field, c.String())
		return out
	}
	value, ok := m.Get(header)
	if !ok {
		return again(false)
	}
	c, err := digest.ParseCredentials(value)
	if err != nil {
		return message.Reply(m, 400, "")
	}
	count, known := o.used[c.Nonce]
	if !known || c.Nc <= count {
		return again(true)
	}
	o.used[c.Nonce] = c.Nc
	want, err := digest.Digest(&digest.Challenge{Realm: "example.net", Nonce: c.Nonce, QOP: []string{"auth"}, Algorithm: o.algorithm},
		digest.Options{Method: m.Method, URI: c.URI, Count: c.Nc, Cnonce: c.Cnonce, Username: "login", Password: o.password})
	if err != nil || want.Response != c.Response || c.Username != "login" || c.URI != m.URI.String() {
		return message.Reply(m, 403, "")
	}
	return nil
}

// visited are the REGISTERs since the last look.
func (o *office) visited() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := o.visits
	o.visits = nil
	return out
}

// contacts are where we can be called.
func (o *office) contacts() (out []message.URI) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range o.bound {
		out = append(out, c.URI)
	}
	return out
}

func (o *office) set(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f()
}

// subscriber is a lab whose gate has an account at a provider.
type subscriber struct {
	*lab
	office *office
	box    *natlab.NAT
	logs   *observer.ObservedLogs
}

func newSubscriber(t *testing.T, yaml string, o natlab.NATOptions, change ...func(*sbc.Options)) *subscriber {
	t.Helper()
	network := natlab.New(natlab.Options{Seed: 9})
	core, logs := observer.New(zapcore.InfoLevel)
	s := &subscriber{office: newOffice(), box: network.NAT(gateBox, o), logs: logs}
	s.lab = gateOn(t, yaml, network, append(change, func(opt *sbc.Options) {
		opt.Log = zap.New(core)
		listen := opt.Listen
		opt.Listen = func(at netip.AddrPort) (transport.PacketConn, error) {
			if at.Addr() != gateHidden {
				return listen(at)
			}
			host := s.box.Host(gateHidden)
			host.ReceiveErrors(true)
			return host.ListenUDP(at.Port())
		}
		opt.ListenStream = func(at netip.AddrPort) (net.Listener, error) { return s.host(at.Addr()).ListenStream(at) }
		opt.Dial = func(ctx context.Context, local netip.Addr, remote netip.AddrPort) (net.Conn, error) {
			return s.host(local).DialStream(ctx, netip.AddrPortFrom(local, 0), remote)
		}
	})...)
	s.provider = s.agent("provider", providerAt, 10)
	s.pbx = s.agent("pbx", pbxAt, 11)
	answer := demo.Script{Ring: 50 * time.Millisecond, Answer: 200 * time.Millisecond}
	s.provider.Do(func() {
		s.provider.Number, s.provider.Outside = "0301234", s.office.answer
		s.provider.Incoming = scriptOf(answer, sdpAt(providerAt.Addr(), 4000))
	})
	s.pbx.Do(func() { s.pbx.Number, s.pbx.Incoming = "4930555", scriptOf(answer, sdpAt(pbxAt.Addr(), 4002)) })
	return s
}

// host is where an address of the gate stands.
func (s *subscriber) host(a netip.Addr) *natlab.Host {
	if a == gateHidden {
		return s.box.Host(a)
	}
	return s.net.Host(a)
}

// trunk is how `sbc trunks` shows the account.
func (s *subscriber) trunk() api.TrunkRegistration {
	s.t.Helper()
	list, err := s.gate.Control(nil).Trunks(s.ctx)
	if err != nil || len(list) == 0 || list[0].Registration == nil {
		s.t.Fatalf("%v %+v", err, list)
	}
	return *list[0].Registration
}

// called is a call of the provider to where it was told that we are.
func (s *subscriber) called() demo.Result { return s.calledBy(s.provider) }

func (s *subscriber) calledBy(a *demo.Agent) demo.Result {
	s.t.Helper()
	list := s.office.contacts()
	if len(list) != 1 {
		s.t.Fatalf("%d contacts: %v", len(list), list)
	}
	at, err := netip.ParseAddrPort(fmt.Sprintf("%s:%d", list[0].Host, list[0].Port))
	if err != nil {
		s.t.Fatal(err)
	}
	return s.call(a, at, list[0].User, demo.Script{SDP: sdpAt(a.Addr.Addr(), 4000), Hangup: time.Second})
}

// answering says how an agent answers calls from now on.
func (s *subscriber) answering(a *demo.Agent, f func(*message.Message) demo.Script) {
	a.Do(func() { a.Incoming = f })
}

// said are the log lines that hold a text.
func (s *subscriber) said(text string) (n int) {
	for _, e := range s.logs.All() {
		if strings.Contains(e.Message, text) {
			n++
		}
	}
	return n
}

func (s *subscriber) reload(yaml string) {
	s.t.Helper()
	if _, err := s.gate.Reload(s.ctx, parse(s.t, yaml)); err != nil {
		s.t.Fatal(err)
	}
}

// strict is the NAT that is hardest to live behind.
var strict = natlab.NATOptions{Mapping: natlab.AddressAndPortDependent, Filtering: natlab.AddressAndPortDependent}

// TestATrunkRegisters: with any algorithm, behind a NAT in which nothing is open; calls go in and out, an hour long.
func TestATrunkRegisters(t *testing.T) {
	for _, algorithm := range []string{"MD5", "SHA-256", "SHA-512-256"} {
		t.Run(algorithm, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSubscriber(t, accountConfig, strict)
				defer s.close()
				s.office.set(func() { s.office.algorithm = algorithm })
				time.Sleep(5 * time.Second)
				is := s.trunk()
				if is.State != "registered" || is.Realm != "example.net" || is.Address != providerAt.String() || is.Answer != "200 OK" || is.Fails != 0 {
					t.Fatalf("%+v", is)
				}
				visits := s.office.visited()
				if len(visits) != 2 || !strings.Contains(visits[1], "<sip:4930555@"+is.SeenAs+"> expires 600: 200") || !strings.HasPrefix(is.SeenAs, gateBox.String()) {
					t.Fatalf("%v, seen as %s", visits, is.SeenAs)
				}
				time.Sleep(time.Hour)
				if visits = s.office.visited(); len(visits) < 6 || len(visits) > 9 {
					t.Errorf("%d REGISTERs in an hour: %v", len(visits), visits)
				}
				if r := s.called(); r.Code != 200 {
					t.Errorf("the provider heard %d (%s)", r.Code, r.Why)
				}
				var invite *message.Message
				s.answering(s.provider, func(m *message.Message) demo.Script {
					invite = m
					return demo.Script{Ring: time.Millisecond, Answer: time.Second, SDP: sdpAt(providerAt.Addr(), 4000)}
				})
				if r := s.call(s.pbx, pbxSocket, "+4930123", demo.Script{SDP: sdpAt(pbxAt.Addr(), 4002), Hangup: time.Second}); r.Code != 200 {
					t.Errorf("the PBX heard %d (%s)", r.Code, r.Why)
				}
				synctest.Wait()
				contact, _ := invite.Get("Contact")
				if got, want := invite.URI.String()+" "+invite.From.URI.String()+" "+invite.To.URI.String()+" "+contact,
					"sip:+4930123@sip.example.net sip:4930555@sip.example.net sip:+4930123@sip.example.net <sip:4930555@"+is.SeenAs+">"; got != want {
					t.Errorf("the INVITE says\n%s, want\n%s", got, want)
				}
				if !strings.Contains(string(invite.Body), "c=IN IP4 "+gateBox.String()) {
					t.Errorf("audio would go to\n%s", invite.Body)
				}
				for _, e := range s.logs.FilterLevelExact(zapcore.WarnLevel).All() {
					t.Errorf("a warning while all is well: %s", e.Message)
				}
				s.stopGate()
				s.gateGone.Wait()
				if list := s.office.contacts(); len(list) != 0 || s.said("registration ended") != 1 {
					t.Errorf("left behind: %v", list)
				}
			})
		})
	}
}

// TestTheNATMovesUs: OPTIONS show it, and the registrar is told; the place of before is taken back.
func TestTheNATMovesUs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSubscriber(t, accountConfig, strict)
		defer s.close()
		time.Sleep(time.Minute)
		before := s.trunk().SeenAs
		s.box.Rebind()
		time.Sleep(time.Minute)
		if is := s.trunk(); is.SeenAs == before || is.State != "registered" {
			t.Errorf("%+v, before %s", is, before)
		}
		if r := s.called(); r.Code != 200 {
			t.Errorf("the provider heard %d (%s)", r.Code, r.Why)
		}
	})
}

// TestTheRegistrarDies: before the first REGISTER, and after it; alarm and recovery are told once each.
func TestTheRegistrarDies(t *testing.T) {
	for _, after := range []time.Duration{0, time.Minute} {
		t.Run(after.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSubscriber(t, accountConfig, strict)
				defer s.close()
				time.Sleep(after)
				s.net.Impair(gateBox, providerAt.Addr(), natlab.Link{Loss: 1})
				time.Sleep(time.Hour)
				is := s.trunk()
				if is.State != "refused" || !is.Until.IsZero() || is.Fails < 4 || s.said("registration failed") != 1 {
					t.Fatalf("%+v, told %d times", is, s.said("registration failed"))
				}
				s.net.Impair(gateBox, providerAt.Addr(), natlab.Link{})
				time.Sleep(15 * time.Minute)
				if is = s.trunk(); is.State != "registered" || is.Fails != 0 || s.said("registered again") != 1 {
					t.Fatalf("%+v", is)
				}
				if r := s.called(); r.Code != 200 {
					t.Errorf("the provider heard %d (%s)", r.Code, r.Why)
				}
			})
		})
	}
}

// TestRefusals: 503 with Retry-After, 423, a wrong password that a reload corrects.
func TestRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSubscriber(t, accountConfig, strict)
		defer s.close()
		s.office.set(func() {
			s.office.refuse = func(m *message.Message) *message.Message {
				out := message.Reply(m, 503, "")
				out.Add("Retry-After", "200")
				return out
			}
		})
		time.Sleep(190 * time.Second)
		if is := s.trunk(); len(s.office.visited()) != 1 || is.State != "refused" || is.Answer != "503 Service Unavailable" {
			t.Errorf("%+v", is)
		}
		s.office.set(func() {
			s.office.grants = 1800
			s.office.refuse = func(m *message.Message) *message.Message {
				if v, _ := m.Get("Expires"); v == "600" {
					out := message.Reply(m, 423, "")
					out.Add("Min-Expires", "1800")
					return out
				}
				return nil
			}
		})
		time.Sleep(20 * time.Second)
		if is := s.trunk(); is.State != "registered" || time.Until(is.Until) < 29*time.Minute {
			t.Errorf("%+v", is)
		}
		s.office.set(func() { s.office.refuse, s.office.password = nil, "changed" })
		time.Sleep(time.Hour)
		if is := s.trunk(); is.State != "refused" || !strings.Contains(is.Answer, "password refused") || len(s.office.visited()) > 14 {
			t.Errorf("%+v", is)
		}
		s.reload(strings.Replace(accountConfig, "s3cret", "changed", 1))
		time.Sleep(2 * time.Second)
		if is := s.trunk(); is.State != "registered" {
			t.Errorf("%+v", is)
		}
	})
}

// TestReloadKeepsTheRegistration: what changes nothing of it sends nothing; a trunk that is gone takes its binding back.
func TestReloadKeepsTheRegistration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSubscriber(t, accountConfig, strict)
		defer s.close()
		time.Sleep(time.Minute)
		s.office.visited()
		before := s.trunk()
		for _, change := range []string{"ring_timeout: 100s", "ring_timeout: 90s", "codecs: [ PCMA ]"} {
			s.reload(strings.Replace(accountConfig, "keepalive:", change+"\n    keepalive:", 1))
			time.Sleep(5 * time.Second)
		}
		if is := s.trunk(); len(s.office.visited()) != 0 || is.Until != before.Until || is.SeenAs != before.SeenAs || s.said("registered until") != 1 {
			t.Errorf("%+v, before %+v", is, before)
		}
		s.reload(strings.Replace(accountConfig, `username: "4930555"`, `username: "4930556"`, 1))
		time.Sleep(5 * time.Second)
		if list := s.office.contacts(); len(list) != 1 || list[0].User != "4930556" {
			t.Errorf("%v", list)
		}
		if is := s.trunk(); is.State != "registered" {
			t.Errorf("%+v", is)
		}
		s.reload(accountConfig[:strings.Index(accountConfig, "trunks:\n")] + "policy: { rate_limits: [] }\n")
		time.Sleep(5 * time.Second)
		if list := s.office.contacts(); len(list) != 0 {
			t.Errorf("left behind: %v", list)
		}
	})
}
