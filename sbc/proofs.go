package sbc

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/config"
	"sallyport/sbc/transport"
	"sallyport/sbc/tu"
)

// proofs are who providers must prove to be on connections of TLS, and who is known by a certificate. They never change.
type proofs struct {
	towards map[netip.AddrPort]*transport.Identity // of connections that we make
	clients []client                               // in file order
	clashes []string                               // what trunks want of one address and cannot all have
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
//
// Trunks that lead to one address share the connections to it. What an operator has written of it counts before what DNS has led
// there: the first trunk with a tls section, else an address that stands as such, else whichever of the names is proven. So the
// owner of one provider's name neither makes another provider unreachable nor lowers what that one has to prove.
func newProofs(snap *config.Snapshot, read map[string]*transport.Identity) *proofs {
	p := &proofs{towards: map[netip.AddrPort]*transport.Identity{}}
	demands := map[netip.AddrPort]*demand{}
	for i := range snap.Trunks {
		t := &snap.Trunks[i]
		own := read[t.Name]
		add := func(list []config.Peer) {
			for _, at := range list {
				if at.Transport == nat.TLS {
					p.share(demands, at.Address, &demand{t, own != nil, at.Name.Host == "", meant(own, at.Name.Host)})
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
	for at, d := range demands {
		if d.who != nil {
			p.towards[at] = d.who
		}
	}
	return p
}

// demand is who an address must prove to be, and whose demand that is.
type demand struct {
	trunk   *config.Trunk
	own     bool // by a tls section
	literal bool // the address stands in the configuration
	who     *transport.Identity
}

// share settles what counts of an address that several trunks lead to.
func (p *proofs) share(demands map[netip.AddrPort]*demand, at netip.AddrPort, d *demand) {
	old := demands[at]
	switch {
	case old == nil:
		demands[at] = d
	case old.own && d.own:
		if old.trunk != d.trunk && !old.trunk.TLS.Same(&d.trunk.TLS) {
			p.clashes = append(p.clashes, fmt.Sprintf("trunks %s and %s both lead to %s by TLS and differ in tls: what %s says counts for both"+
				"\n  hint: connections to an address are shared; give both the same tls, or ask the provider for another port", old.trunk.Name, d.trunk.Name, at, old.trunk.Name))
		}
	case d.own, !old.own && d.literal:
		demands[at] = d
	case !old.own && !old.literal:
		who := *old.who
		who.Names = append(slices.Clip(who.Names), d.who.Names...)
		demands[at] = &demand{old.trunk, false, false, &who}
	}
}

// prove lets proofs count from now on, and says once what they cannot do.
func (s *SBC) prove(p *proofs) {
	before := s.proofs.Swap(p)
	for _, text := range p.clashes {
		if before == nil || !slices.Contains(before.clashes, text) {
			s.log.Warn(text)
		}
	}
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

// unconnected is why there is no connection to a hop; "": there is one, or none is needed.
func (s *SBC) unconnected(h *tu.Hop) string {
	if !h.Flow.Transport.Reliable() {
		return ""
	}
	return s.sockets.Trouble(h.Flow)
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
