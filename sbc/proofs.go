package sbc

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/config"
	"sallyport/sbc/transport"
	"sallyport/sbc/tu"
)

// proofs are who is known by a certificate. They never change.
type proofs struct {
	clients []client            // in file order
	alike   map[string][]string // trunks that one certificate proves to be any of them, by the first
}

// client is a trunk that is known by its certificate, wherever it comes from.
type client struct {
	peer  *policy.Peer
	roots *x509.CertPool
	names []string
}

// trunkTLS is what the tls section of a trunk says, its files read.
type trunkTLS struct {
	who    transport.Identity
	files  fingerprint // of all
	theirs fingerprint // of the authorities alone
}

// fingerprint tells the contents of files apart.
type fingerprint [sha256.Size]byte

// loadProofs reads the files of the trunks' certificates and authorities; by trunk.
func loadProofs(snap *config.Snapshot) (map[string]*trunkTLS, error) {
	out := map[string]*trunkTLS{}
	for i := range snap.Trunks {
		t := &snap.Trunks[i]
		if !t.TLS.Given() {
			continue
		}
		own := &trunkTLS{who: transport.Identity{Names: t.TLS.Names}}
		var shown, believed [][]byte
		if t.TLS.Certificate != "" {
			pair, err := tls.LoadX509KeyPair(t.TLS.Certificate, t.TLS.Key)
			if err != nil {
				return nil, fmt.Errorf("trunks[%d].tls: certificate %s with key %s: %w", i, t.TLS.Certificate, t.TLS.Key, err)
			}
			own.who.Certificate, shown = &pair, pair.Certificate
		}
		if t.TLS.CA != "" {
			text, err := os.ReadFile(t.TLS.CA)
			if err != nil {
				return nil, fmt.Errorf("trunks[%d].tls.ca: %w", i, err)
			}
			own.who.Roots = x509.NewCertPool()
			if !own.who.Roots.AppendCertsFromPEM(text) {
				return nil, fmt.Errorf("trunks[%d].tls.ca: %s holds no certificate: give a PEM file", i, t.TLS.CA)
			}
			believed = authorities(text)
		}
		own.files, own.theirs = fingerprintOf(shown, believed), fingerprintOf(believed)
		out[t.Name] = own
	}
	return out, nil
}

// authorities are the certificates of a PEM file in an order of their own: the file's says nothing.
func authorities(text []byte) (out [][]byte) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			slices.SortFunc(out, bytes.Compare)
			return out
		}
		if block.Type == "CERTIFICATE" {
			out = append(out, block.Bytes)
		}
	}
}

// fingerprintOf is that of a chain of certificates and of authorities; zero: of neither. The key need not be in it: a certificate has one.
func fingerprintOf(lists ...[][]byte) (d fingerprint) {
	h := sha256.New()
	some := false
	for _, list := range lists {
		_, _ = fmt.Fprintln(h, len(list))
		for _, der := range list {
			some = true
			_, _ = fmt.Fprintln(h, len(der))
			_, _ = h.Write(der)
		}
	}
	if some {
		h.Sum(d[:0])
	}
	return d
}

// newProofs are those of a configuration.
func newProofs(snap *config.Snapshot, read map[string]*trunkTLS) *proofs {
	p := &proofs{alike: map[string][]string{}}
	first := map[settings]string{}
	for i := range snap.Trunks {
		name := snap.Trunks[i].Name
		own := read[name]
		if own == nil || len(own.who.Names) == 0 {
			continue
		}
		p.clients = append(p.clients, client{peer: trunkPeer(name), roots: own.who.Roots, names: own.who.Names})
		proves := settings{own.theirs, strings.Join(own.who.Names, "\n")}
		if first[proves] == "" {
			first[proves] = name
		}
		p.alike[first[proves]] = append(p.alike[first[proves]], name)
	}
	return p
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
func (s *SBC) identity(to nat.Flow) *transport.Identity { return s.classes.Load().identity(to.Class) }

// recogniser is who knows clients of a listener by their certificates: at that of trunks, where some trunk is known so.
func (s *SBC) recogniser(face *nat.Interface) transport.Recogniser {
	p := s.proofs.Load()
	if face.Side != nat.Outside || face.Realm != nat.Trunks || len(p.clients) == 0 {
		return nil
	}
	return p.recognise
}

// proof is that a connection has proven whose it is.
type proof struct {
	class uint32 // of one that we have made
	trunk string // else who has shown a certificate
	at    netip.Addr
}

// proofsMost bounds those whose peers are kept: who has a certificate may come from anywhere.
const proofsMost = 1024

// proofOf is what has been proven on a connection, and of which trunks; none: nothing.
func (a *assembly) proofOf(i *nat.Interface, f nat.Flow) (p proof, trunks []string) {
	p = proof{class: f.Class, at: f.Remote.Addr()}
	switch {
	case i.Side != nat.Outside || i.Transport != nat.TLS || a.sbc == nil || a.sbc.sockets == nil:
	case f.Class != 0:
		trunks = a.world.classes.trunks(f.Class)
	default:
		if p.trunk = a.sbc.sockets.Peer(f); p.trunk != "" {
			if trunks = a.sbc.proofs.Load().alike[p.trunk]; len(trunks) == 0 {
				trunks = []string{p.trunk}
			}
		}
	}
	return p, trunks
}

// proven is the trunk behind a connection of TLS, where that has been proven on it: it counts before the address. nil, though it has:
// the configuration no longer has that trunk.
func (a *assembly) proven(i *nat.Interface, f nat.Flow) (peer *tu.Peer, is bool) {
	p, trunks := a.proofOf(i, f)
	if len(trunks) == 0 {
		return nil, false
	}
	if peer, is = a.proofs[p]; is {
		return peer, true
	}
	if a.proofs == nil || len(a.proofs) >= proofsMost {
		a.proofs = map[proof]*tu.Peer{}
	}
	peer = a.book.Behind(i.Side, i.Realm, p.at, trunks)
	a.proofs[p] = peer
	return peer, true
}

// provenTrunks are those that a connection may be of, by what has been proven on it; none: whoever has its address.
func (a *assembly) provenTrunks(i *nat.Interface, f nat.Flow) []string {
	_, trunks := a.proofOf(i, f)
	return trunks
}
