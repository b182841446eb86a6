package resolve

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// servers are name servers that a System asks.
type servers struct {
	mu    sync.Mutex
	asked []string // network and server
	reply func(network, server string, q *dns.Msg) (*dns.Msg, error)
}

func (s *servers) ask(ctx context.Context, network, server string, q *dns.Msg) (*dns.Msg, error) {
	s.mu.Lock()
	s.asked = append(s.asked, network+" "+server)
	s.mu.Unlock()
	m, err := s.reply(network, server, q)
	if m == nil && err == nil {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return m, err
}

func (s *servers) log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.asked, ", ")
}

func yes(q *dns.Msg) *dns.Msg {
	m := new(dns.Msg)
	m.SetReply(q)
	m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.IPv4(192, 0, 2, 1)})
	return m
}

func says(q *dns.Msg, rcode int) *dns.Msg {
	m := new(dns.Msg)
	m.SetRcode(q, rcode)
	return m
}

func machine(t *testing.T, conf, hosts string, reply func(network, server string, q *dns.Msg) (*dns.Msg, error)) (*System, *servers) {
	t.Helper()
	s := &servers{reply: reply}
	dir := t.TempDir()
	sys := &System{Conf: filepath.Join(dir, "resolv.conf"), Hosts: filepath.Join(dir, "hosts"), Ask: s.ask}
	write(t, sys.Conf, conf)
	write(t, sys.Hosts, hosts)
	return sys, s
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func asking(name string, qtype uint16) *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	return m
}

const twoServers = "nameserver 192.0.2.53\nnameserver 2001:db8::53\nsearch example.com\n"

func TestSystem(t *testing.T) {
	first, second := "192.0.2.53:53", "[2001:db8::53]:53"
	for _, tt := range []struct {
		name  string
		reply func(network, server string, q *dns.Msg) (*dns.Msg, error)
		asked string
		err   string
	}{
		{"the first answers", func(_, _ string, q *dns.Msg) (*dns.Msg, error) { return yes(q), nil }, "udp " + first, ""},
		{"the first is silent", func(_, server string, q *dns.Msg) (*dns.Msg, error) {
			if server == first {
				return nil, nil
			}
			return yes(q), nil
		}, "udp " + first + ", udp " + second, ""},
		{"the first is broken", func(_, server string, q *dns.Msg) (*dns.Msg, error) {
			if server == first {
				return says(q, dns.RcodeServerFailure), nil
			}
			return yes(q), nil
		}, "udp " + first + ", udp " + second, ""},
		{"it does not exist: nobody else is asked", func(_, _ string, q *dns.Msg) (*dns.Msg, error) { return says(q, dns.RcodeNameError), nil },
			"udp " + first, ""},
		{"too long for a datagram", func(network, _ string, q *dns.Msg) (*dns.Msg, error) {
			m := yes(q)
			m.Truncated = network == "udp"
			return m, nil
		}, "udp " + first + ", tcp " + first, ""},
		{"a server without EDNS", func(_, _ string, q *dns.Msg) (*dns.Msg, error) {
			if q.IsEdns0() != nil {
				return says(q, dns.RcodeFormatError), nil
			}
			return yes(q), nil
		}, "udp " + first + ", udp " + first, ""},
		{"nobody answers", func(_, _ string, _ *dns.Msg) (*dns.Msg, error) { return nil, errors.New("connection refused") },
			"udp " + first + ", udp " + second + ", udp " + first + ", udp " + second, "connection refused"},
		{"a forged reply", func(_, _ string, q *dns.Msg) (*dns.Msg, error) {
			m := yes(q)
			m.Question = []dns.Question{{Name: "other.example.", Qtype: dns.TypeA, Qclass: dns.ClassINET}}
			return m, nil
		}, "udp " + first + ", udp " + second + ", udp " + first + ", udp " + second, "another question"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sys, s := machine(t, twoServers, "", tt.reply)
				m, err := sys.Exchange(t.Context(), asking("a.example.", dns.TypeA))
				if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
					t.Errorf("%v, %v", m, err)
				}
				if s.log() != tt.asked {
					t.Errorf("asked %s\nwant  %s", s.log(), tt.asked)
				}
			})
		})
	}
}

// TestASilentServerIsAskedLast for half a minute: nobody waits for it each time.
func TestASilentServerIsAskedLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys, s := machine(t, twoServers, "", func(_, server string, q *dns.Msg) (*dns.Msg, error) {
			if server == "192.0.2.53:53" {
				return nil, nil
			}
			return yes(q), nil
		})
		for range 3 {
			if _, err := sys.Exchange(t.Context(), asking("a.example.", dns.TypeA)); err != nil {
				t.Fatal(err)
			}
		}
		if got, want := s.log(), "udp 192.0.2.53:53, udp [2001:db8::53]:53, udp [2001:db8::53]:53, udp [2001:db8::53]:53"; got != want {
			t.Errorf("asked %s", got)
		}
		time.Sleep(badFor)
		if _, err := sys.Exchange(t.Context(), asking("a.example.", dns.TypeA)); err != nil || !strings.HasSuffix(s.log(), "udp 192.0.2.53:53, udp [2001:db8::53]:53") {
			t.Errorf("asked %s, %v", s.log(), err)
		}
	})
}

func TestFilesAreReadAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys, s := machine(t, "", "192.0.2.7 pbx pbx.example. # ours\n2001:db8::7 PBX\nbad line\n300.1.1.1 x\n",
			func(_, _ string, q *dns.Msg) (*dns.Msg, error) { return yes(q), nil })
		for _, tt := range []struct {
			name  string
			qtype uint16
			want  int
		}{{"pbx.", dns.TypeA, 1}, {"Pbx.", dns.TypeAAAA, 1}, {"pbx.example.", dns.TypeAAAA, 0}} {
			m, err := sys.Exchange(t.Context(), asking(tt.name, tt.qtype))
			if err != nil || len(m.Answer) != tt.want {
				t.Errorf("%s: %v, %v", tt.name, m, err)
			}
		}
		if _, err := sys.Exchange(t.Context(), asking("other.", dns.TypeA)); err == nil || !strings.Contains(err.Error(), "resolv.conf") {
			t.Errorf("without a name server: %v", err)
		}
		write(t, sys.Conf, "nameserver 192.0.2.99\n")
		time.Sleep(2 * lookEvery)
		if _, err := sys.Exchange(t.Context(), asking("other.", dns.TypeA)); err != nil || s.log() != "udp 192.0.2.99:53" {
			t.Errorf("asked %s, %v", s.log(), err)
		}
		if _, err := sys.Exchange(t.Context(), asking("pbx.", dns.TypeSRV)); err != nil {
			t.Errorf("what hosts cannot say: %v", err)
		}
	})
}

// TestOverTheNetwork asks a real server on loopback, by datagram and then by connection.
func TestOverTheNetwork(t *testing.T) {
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := yes(q)
		if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
			m.Answer, m.Truncated = nil, true
		}
		_ = w.WriteMsg(m)
	})
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := packets.LocalAddr().String()
	streams, err := net.Listen("tcp", at)
	if err != nil {
		t.Skip("the port is taken for TCP: ", err)
	}
	for _, s := range []*dns.Server{{PacketConn: packets, Handler: handler}, {Listener: streams, Handler: handler}} {
		go func() { _ = s.ActivateAndServe() }()
		t.Cleanup(func() { _ = s.Shutdown() })
	}
	sys, _ := machine(t, twoServers, "", nil)
	sys.Ask = func(ctx context.Context, network, _ string, q *dns.Msg) (*dns.Msg, error) {
		return overNetwork(ctx, network, at, q)
	}
	a, err := New(sys, time.Now).Lookup(t.Context(), Target{Host: "a.example", Plain: true, V4: true})
	if err != nil || show(a) != "192.0.2.1:0/udp 0.0*0" {
		t.Errorf("%s, %v", show(a), err)
	}
}
