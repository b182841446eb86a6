package sbc

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/netip"
	"os"

	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/config"
	"sallyport/sbc/transport"
)

// proofs are who providers must prove to be on connections of TLS, and who is known by a certificate. They never change.
type proofs struct {
	towards map[netip.AddrPort]*transport.Identity // of connections that we make
	clients []client                               // in file order
}

// client is a trunk that is known by its certificate, wherever it comes from.
type client struct {
	peer  *policy.Peer
	roots *x509.CertPool
	names []string
}

// loadProofs reads the files of the trunks' certificates and authorities; by trunk.
func loadProofs(snap *config.Snapshot) (map[string]*transport.Identity, error) {
	out := map[string]*transport.Identity{}
	for i := range snap.Trunks {
		t := &snap.Trunks[i]
		if !t.TLS.Given() {
			continue
		}
		who := &transport.Identity{Names: t.TLS.Names}
		if t.TLS.Certificate != "" {
			pair, err := tls.LoadX509KeyPair(t.TLS.Certificate, t.TLS.Key)
			if err != nil {
				return nil, fmt.Errorf("trunks[%d].tls: certificate %s with key %s: %w", i, t.TLS.Certificate, t.TLS.Key, err)
			}
			who.Certificate = &pair
		}
		if t.TLS.CA != "" {
			pem, err := os.ReadFile(t.TLS.CA)
			if err != nil {
				return nil, fmt.Errorf("trunks[%d].tls.ca: %w", i, err)
			}
			who.Roots = x509.NewCertPool()
			if !who.Roots.AppendCertsFromPEM(pem) {
				return nil, fmt.Errorf("trunks[%d].tls.ca: %s holds no certificate: give a PEM file", i, t.TLS.CA)
			}
		}
		out[t.Name] = who
	}
	return out, nil
}

// newProofs are those of a configuration whose names have been replaced. A peer that is called by a name must prove that name,
// not where DNS says that it is (RFC 5922 §4: the domain that the request was meant for).
func newProofs(snap *config.Snapshot, read map[string]*transport.Identity) *proofs {
	p := &proofs{towards: map[netip.AddrPort]*transport.Identity{}}
	for i := range snap.Trunks {
		t := &snap.Trunks[i]
		own := read[t.Name]
		add := func(list []config.Peer) {
			for _, at := range list {
				if _, taken := p.towards[at.Address]; at.Transport == nat.TLS && !taken {
					if who := meant(own, at.Name.Host); who != nil {
						p.towards[at.Address] = who
					}
				}
			}
		}
		add(t.Peers)
		if t.Registration != nil {
			add(t.Registration.Targets)
		}
		if own != nil && len(own.Names) > 0 {
			p.clients = append(p.clients, client{
				peer:  &policy.Peer{Kind: policy.Trunk, Side: nat.Outside, Realm: nat.Trunks, Name: t.Name},
				roots: own.Roots, names: own.Names,
			})
		}
	}
	return p
}

// meant is who an address of a trunk must prove to be; nil: the address.
func meant(own *transport.Identity, name string) *transport.Identity {
	switch {
	case own == nil && name == "":
		return nil
	case own == nil:
		return &transport.Identity{Names: []string{name}}
	case len(own.Names) > 0 || name == "":
		return own
	}
	who := *own
	who.Names = []string{name}
	return &who
}

// recognise finds the trunk that a chain of certificates proves.
func (p *proofs) recognise(chain []*x509.Certificate) *policy.Peer {
	for i := range p.clients {
		c := &p.clients[i]
		if transport.ProvesClient(chain, c.roots, c.names) == nil {
			return c.peer
		}
	}
	return nil
}

// identity is who a peer must prove to be.
func (s *SBC) identity(_ *nat.Interface, remote netip.AddrPort) *transport.Identity {
	return s.proofs.Load().towards[remote]
}

// recogniser is who knows clients of a listener by their certificates: at that of trunks, where some trunk is known so.
func (s *SBC) recogniser(face *nat.Interface) transport.Recogniser {
	p := s.proofs.Load()
	if face.Side != nat.Outside || face.Realm != nat.Trunks || len(p.clients) == 0 {
		return nil
	}
	return p.recognise
}
