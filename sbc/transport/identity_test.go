package transport

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"sallyport/nat"
	"sallyport/nat/natlab/authority"
	"sallyport/policy"
)

// TestIdentities: whom a certificate is for (RFC 5922 §7.1, §7.2).
func TestIdentities(t *testing.T) {
	uri := func(s string) *url.URL {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	for _, tt := range []struct {
		name    string
		c       x509.Certificate
		is, not []string
	}{
		{"a name", x509.Certificate{DNSNames: []string{"sip.Example.com"}}, []string{"SIP.example.com", "sip.example.com."}, []string{"example.com", "sip.example.com.evil", ""}},
		{"no wildcard fits", x509.Certificate{DNSNames: []string{"*.example.com"}}, []string{"*.example.com"}, []string{"sip.example.com", "a.b.example.com"}},
		{"a domain of SIP counts before names", x509.Certificate{URIs: []*url.URL{uri("sip:example.com"), uri("https://x.example")}, DNSNames: []string{"sip.example.com"}},
			[]string{"example.com"}, []string{"sip.example.com", "x.example"}},
		{"a user is no domain", x509.Certificate{URIs: []*url.URL{uri("sip:bob@example.com")}, DNSNames: []string{"example.com"}}, nil, []string{"example.com", "bob@example.com"}},
		{"another URI is none of SIP", x509.Certificate{URIs: []*url.URL{uri("https://example.com")}, DNSNames: []string{"a.example"}}, []string{"a.example"}, []string{"example.com"}},
		{"an address", x509.Certificate{IPAddresses: netIPs("203.0.113.30", "2001:db8::1")}, []string{"203.0.113.30", "2001:db8:0::1", "::ffff:203.0.113.30"}, []string{"203.0.113.31"}},
		{"the common name is no name", x509.Certificate{}, nil, []string{"", "a"}},
	} {
		for _, name := range tt.is {
			if !certifies(&tt.c, name) {
				t.Errorf("%s: not %q", tt.name, name)
			}
		}
		for _, name := range tt.not {
			if certifies(&tt.c, name) {
				t.Errorf("%s: %q", tt.name, name)
			}
		}
	}
}

func netIPs(list ...string) (out []net.IP) {
	for _, s := range list {
		out = append(out, net.ParseIP(s))
	}
	return out
}

// TestPinnedNames: a peer that is dialled must show one of the names, of an authority of its own, and is shown our certificate for it.
func TestPinnedNames(t *testing.T) {
	ca, provider := authority.New("ca"), authority.New("provider")
	set, _ := loadTLS(t, ca, "")
	if err := set.Trust(ca.PEM()); err != nil {
		t.Fatal(err)
	}
	account := provider.Issue("account")
	for _, c := range []struct {
		name  string
		who   Identity
		shows tls.Certificate
		ok    bool
	}{
		{"one of two", Identity{Names: []string{"a.example", "b.example"}}, ca.Issue("b.example"), true},
		{"neither", Identity{Names: []string{"a.example", "b.example"}}, ca.Issue("c.example"), false},
		{"of its authority", Identity{Names: []string{"a.example"}, Roots: provider.Pool()}, provider.Issue("a.example"), true},
		{"of the system's", Identity{Names: []string{"a.example"}, Roots: provider.Pool()}, ca.Issue("a.example"), false},
		{"its address, of its authority", Identity{Roots: provider.Pool()}, provider.Issue("203.0.113.30"), true},
		{"no wildcard", Identity{Names: []string{"a.example"}}, ca.Issue("*.example"), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.who.Certificate = &account
			tlsYard(t, set, func(conf *Config) {
				conf.Identity = func(nat.Flow) *Identity { return &c.who }
			}, func(y *yard) {
				f := pbx
				f.Transport = nat.TLS
				y.must(f, "hello")
				conn := tls.Server(y.last().Conn, &tls.Config{
					Certificates: []tls.Certificate{c.shows}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: provider.Pool(),
				})
				p := newPeer(t, conn, true)
				synctest.Wait()
				if got := p.text(); (got == "hello") != c.ok {
					t.Errorf("the peer got %q", got)
				}
				if c.ok && conn.ConnectionState().PeerCertificates[0].Subject.CommonName != "account" {
					t.Error("not the certificate of this peer")
				}
			})
		})
	}
}

// TestClientsKnownByCertificate: who shows the certificate of a peer is that peer, wherever it comes from; who does not is judged by
// address, and must satisfy client_ca where there is one.
func TestClientsKnownByCertificate(t *testing.T) {
	ca, provider, phones := authority.New("ca"), authority.New("provider"), authority.New("phones")
	file := filepath.Join(t.TempDir(), "phones.pem")
	put(t, file, phones.PEM())
	open, _ := loadTLS(t, ca, "")
	closed, _ := loadTLS(t, ca, file)
	itsp := &policy.Peer{Kind: policy.Trunk, Name: "itsp"}
	who := Recogniser(func(chain []*x509.Certificate) *policy.Peer {
		if ProvesClient(chain, provider.Pool(), []string{"gw.example"}) == nil {
			return itsp
		}
		return nil
	})
	for _, c := range []struct {
		name string
		set  *TLS
		show []tls.Certificate
		peer string
		ok   bool
	}{
		{"the provider", open, []tls.Certificate{provider.Issue("gw.example")}, "itsp", true},
		{"the provider, beside client_ca", closed, []tls.Certificate{provider.Issue("gw.example")}, "itsp", true},
		{"another name of its authority", open, []tls.Certificate{provider.Issue("other.example")}, "", true},
		{"the name, of another authority", open, []tls.Certificate{ca.Issue("gw.example")}, "", true},
		{"the name, of an authority of phones", closed, []tls.Certificate{phones.Issue("gw.example")}, "", true},
		{"the name, of a foreign authority, where there is a client_ca", closed, []tls.Certificate{ca.Issue("gw.example")}, "", false},
		{"none", open, nil, "", true},
		{"none where one is needed", closed, nil, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			tlsYard(t, c.set, func(conf *Config) { conf.Recognise = func(*nat.Interface) Recogniser { return who } }, func(y *yard) {
				p, _ := y.connectTLS("198.51.100.66:40000", &tls.Config{RootCAs: ca.Pool(), ServerName: "sbc.example.com", Certificates: c.show})
				p.write(request("INVITE", "a"))
				synctest.Wait()
				if over, _ := p.closed(); over == c.ok || (y.ids() == "a") != c.ok {
					t.Fatalf("delivered %q, ended %v", y.ids(), over)
				}
				strangers := y.set.Streams().Strangers.Now
				if c.ok {
					if got := y.set.Peer(y.flow()); got != c.peer || (strangers == 0) != (c.peer != "") {
						t.Errorf("it is %q, %d strangers", got, strangers)
					}
					f := y.flow()
					f.Conn++
					if y.set.Peer(f) != "" {
						t.Error("a flow that is none")
					}
				}
				_ = p.Conn.Close()
				synctest.Wait()
				if g := y.set.Streams(); g.Strangers.Now != 0 || g.Open.Now != 0 || g.Buffers.Now != 0 {
					t.Errorf("left behind: %+v", g)
				}
			})
		})
	}
	if err := ProvesClient(nil, nil, nil); err == nil {
		t.Error("nothing proves something")
	}
	leaf, err := x509.ParseCertificate(provider.Issue("a.example", "192.0.2.1").Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	err = ProvesClient([]*x509.Certificate{leaf}, provider.Pool(), []string{"b.example"})
	if err == nil || !strings.Contains(err.Error(), "a.example, 192.0.2.1") {
		t.Errorf("%v", err)
	}
}
