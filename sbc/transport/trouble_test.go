package transport

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"sallyport/nat"
	"sallyport/nat/natlab/authority"
)

// told are the errors of the log.
func (y *yard) told() (out []string) {
	for _, e := range y.logs.FilterMessage("cannot connect to a peer").All() {
		out = append(out, fmt.Sprint(e.ContextMap()["error"]))
	}
	return out
}

// TestTroubles: what is wrong with a certificate is told with the names that it has, whichever way it was judged.
func TestTroubles(t *testing.T) {
	ca, foreign := authority.New("ca"), authority.New("foreign")
	set, _ := loadTLS(t, ca, "")
	if err := set.Trust(ca.PEM()); err != nil {
		t.Fatal(err)
	}
	var many []string
	for i := range 200 {
		many = append(many, fmt.Sprintf("n%d.example", i))
	}
	named := &Identity{Names: []string{"sip.example", "gw.example"}}
	for _, c := range []struct {
		name  string
		who   *Identity
		shows tls.Certificate
		want  string
	}{
		{"another name", named, ca.Issue("other.example", "203.0.113.31"), "the certificate is for other.example, 203.0.113.31, and not for sip.example or gw.example"},
		{"no address in it", nil, ca.Issue("other.example"), "the certificate is for other.example, and not for 203.0.113.30"},
		{"another address", nil, ca.Issue("203.0.113.31"), "the certificate is for 203.0.113.31, and not for 203.0.113.30"},
		{"an unknown authority", named, foreign.Issue("sip.example"), "the certificate, for sip.example, does not count: x509: certificate signed by unknown authority"},
		{"an unknown authority of an address", nil, foreign.Issue("203.0.113.30"), "the certificate, for 203.0.113.30, does not count: x509: certificate signed by unknown authority"},
		{"no name at all", named, ca.Sign(x509.Certificate{Subject: pkix.Name{CommonName: "sip.example"}}), "the certificate is for nobody, and not for sip.example or gw.example"},
		{"hundreds of names", named, ca.Issue(many...), "the certificate is for n0.example, n1.example, n2.example, n3.example, n4.example, n5.example and 194 more, and not for sip.example or gw.example"},
		{"a terminal's words", named, ca.Issue("a\x1b[2J\r\nall is well"), "the certificate is for a?[2J??all is well, and not for sip.example or gw.example"},
		{"without end", named, ca.Issue(strings.Repeat("x", 1000)), "the certificate is for " + strings.Repeat("x", textMost-len("the certificate is for ")) + "…"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tlsYard(t, set, func(conf *Config) {
				conf.Identity = func(nat.Flow) *Identity { return c.who }
			}, func(y *yard) {
				f := pbx
				f.Transport = nat.TLS
				if got := y.set.Trouble(f); got != "" {
					t.Errorf("before: %s", got)
				}
				y.must(f, "hello")
				p := newPeer(t, tls.Server(y.last().Conn, &tls.Config{Certificates: []tls.Certificate{c.shows}}), true)
				time.Sleep(11 * time.Second)
				got, _, _ := strings.Cut(y.set.Trouble(f), " (possibly because of")
				log := strings.Join(y.told(), "; ")
				if p.text() != "" || got != c.want || !strings.HasPrefix(log, c.want) {
					t.Errorf("%q, log %q, want %q; the peer got %q", got, log, c.want, p.text())
				}
			})
		})
	}
}

// TestOurCertificateIsRefused: which shows only when the handshake is over for us.
func TestOurCertificateIsRefused(t *testing.T) {
	ca, foreign := authority.New("ca"), authority.New("foreign")
	set, _ := loadTLS(t, ca, "")
	if err := set.Trust(ca.PEM()); err != nil {
		t.Fatal(err)
	}
	tlsYard(t, set, nil, func(y *yard) {
		f := pbx
		f.Transport = nat.TLS
		for range 3 {
			y.must(f, "hello")
			p := newPeer(t, tls.Server(y.last().Conn, &tls.Config{
				Certificates: []tls.Certificate{ca.Issue("203.0.113.30")}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: foreign.Pool(),
			}), true)
			time.Sleep(11 * time.Second)
			if got := y.set.Trouble(f); !strings.Contains(got, "may not like our certificate: tls: ") || p.text() != "" {
				t.Errorf("%q; the peer got %q", got, p.text())
			}
		}
		if got := y.told(); len(got) != 1 {
			t.Errorf("told %q", got)
		}
		y.must(f, "hello")
		newPeer(t, tls.Server(y.last().Conn, &tls.Config{Certificates: []tls.Certificate{ca.Issue("203.0.113.30")}}), true)
		synctest.Wait()
		if got := y.set.Trouble(f); got != "" {
			t.Errorf("it is well, and %s", got)
		}
	})
}

// TestTroublesAreToldApart: each address's, and what is new of it, at once; the same again after a minute.
func TestTroublesAreToldApart(t *testing.T) {
	inYard(t, nil, func(y *yard) {
		other := pbx
		other.Remote = netip.MustParseAddrPort("203.0.113.31:5060")
		y.behave(func() { y.refusing = true })
		for range 50 {
			y.must(pbx, "one")
			y.must(other, "one")
			time.Sleep(time.Second)
		}
		if got := y.told(); len(got) != 2 {
			t.Errorf("told %q", got)
		}
		time.Sleep(11 * time.Second)
		y.must(pbx, "one")
		if got := y.told(); len(got) != 3 {
			t.Errorf("a minute later %q", got)
		}
		y.behave(func() { y.refusing = false })
		y.must(pbx, "two")
		if got := y.set.Trouble(pbx); got != "" || y.set.Trouble(other) == "" {
			t.Errorf("%q, and of the other one %q", got, y.set.Trouble(other))
		}
	})
}

// TestTroublesAreBounded: by address and by word, whatever happens.
func TestTroublesAreBounded(t *testing.T) {
	h := newHub(&Config{})
	now := time.Unix(0, 0)
	for i := range 3 * troublesMost {
		f := nat.Flow{Interface: 1, Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 5060)}
		if known, news := h.troubled(f, "refused", now); known != (i < troublesMost) || news != known {
			t.Fatalf("%d: known %v, news %v", i, known, news)
		}
	}
	full := nat.Flow{Interface: 1, Remote: netip.MustParseAddrPort("10.0.0.1:5060")}
	h.well(full)
	if known, _ := h.troubled(nat.Flow{Interface: 2}, "refused", now); !known || len(h.troubles) != troublesMost {
		t.Error("no room where one is well again")
	}
	news := 0
	for i := range 1000 {
		if _, is := h.troubled(nat.Flow{Interface: 2}, fmt.Sprint(i), now.Add(time.Duration(i)*time.Millisecond)); is {
			news++
		}
	}
	if news != toldMost-1 {
		t.Errorf("%d told in a second", news)
	}
	later := now.Add(stale)
	if known, _ := h.troubled(nat.Flow{Interface: 1, Class: 7}, "refused", later); !known {
		t.Error("no room where the others are long past")
	}
}

func TestExplain(t *testing.T) {
	op := &net.OpError{Op: "dial", Net: "tcp", Source: &net.TCPAddr{Port: 40001}, Err: errors.New("connection refused")}
	if got := explain(fmt.Errorf("x: %w", op)); got != "connection refused" {
		t.Error(got)
	}
	rapid.Check(t, func(t *rapid.T) {
		got := explain(errors.New(rapid.String().Draw(t, "text")))
		if len(got) > textMost+len("…") || strings.ContainsAny(got, "\r\n\x00\x1b\u2028\u202e") {
			t.Fatalf("%q", got)
		}
	})
}
