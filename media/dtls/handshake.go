package dtls

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/logging"
	"github.com/pion/transport/v5/packetio"

	"sallyport/media"
)

// profiles are the suites that are agreed upon, best first (RFC 5764 §4.1.2, RFC 7714 §14.2). What they need of keying
// material: master key and salt of each side.
var profiles = []struct {
	profile   dtls.SRTPProtectionProfile
	suite     media.Suite
	key, salt int
}{
	{dtls.SRTP_AEAD_AES_128_GCM, media.AEADAES128GCM, 16, 12},
	{dtls.SRTP_AEAD_AES_256_GCM, media.AEADAES256GCM, 32, 12},
	{dtls.SRTP_AES128_CM_HMAC_SHA1_80, media.AES128CM80, 16, 14},
	{dtls.SRTP_AES128_CM_HMAC_SHA1_32, media.AES128CM32, 16, 14},
}

// exporter is the label of RFC 5764 §4.2.
const exporter = "EXTRACTOR-dtls_srtp"

// The bounds of one handshake.
const (
	records       = 32 // that wait to be read
	recordBytes   = 64 << 10
	within        = 30 * time.Second // RFC 8842 gives no bound; a peer that is slower has hung up
	enough        = 5 * time.Second  // where there is no room for others
	flightEvery   = 400 * time.Millisecond
	packetsAtMost = 1200 // bytes: what passes anywhere
)

// errPrint says that the peer is not whom signalling vouched for.
var errPrint = errors.New("media/dtls: the peer's certificate has another fingerprint than its SDP")

// session is a handshake with one source, and the association that comes of it.
type session struct {
	wish     wish
	standing media.Standing // of the source
	born     time.Time
	// Under the table's lock: it counts as one under way; it has come to an association.
	shaking, won bool
	end          context.CancelFunc
	in           *packetio.Buffer
	remote       atomic.Pointer[netip.AddrPort] // the source
	moved        atomic.Bool                    // it was not always the same
	heard        atomic.Bool                    // who is there has shown that it hears what we send there (RFC 6347 §4.2.1)
	mute         atomic.Bool                    // nothing is sent any more
	sending      sync.RWMutex                   // held while something is, by whoever does
	send         func(leg int32, to netip.AddrPort, record []byte)
}

// move has records go to another address.
func (s *session) move(to netip.AddrPort) {
	if *s.remote.Load() != to {
		s.moved.Store(true)
		s.remote.Store(&to)
	}
}

// LocalAddr implements net.PacketConn.
func (s *session) LocalAddr() net.Addr { return &net.UDPAddr{} }

// ReadFrom implements net.PacketConn: the next record that the engine let through.
func (s *session) ReadFrom(b []byte) (int, net.Addr, error) {
	n, _, err := s.in.Read(b, nil)
	if errors.Is(err, packetio.ErrFull) || errors.Is(err, io.ErrShortBuffer) {
		err = nil
	}
	return n, s.peer(), err
}

// WriteTo implements net.PacketConn. Records go to the source, from where the engine has let the peer's through.
func (s *session) WriteTo(b []byte, _ net.Addr) (int, error) {
	if greets(b) {
		s.heard.Store(true)
	}
	s.sending.RLock()
	defer s.sending.RUnlock()
	if to := s.remote.Load(); to != nil && !s.mute.Load() {
		s.send(s.wish.leg, *to, b)
	}
	return len(b), nil
}

// hush returns when nothing is being sent, and nothing is from then on, whoever still holds the association.
func (s *session) hush() {
	s.sending.Lock()
	defer s.sending.Unlock()
	s.mute.Store(true)
}

// greets reports whether a record of ours is a ServerHello, which the client gets for the cookie that was sent to it.
func greets(record []byte) bool {
	const handshake, serverHello = 22, 2
	return len(record) > 13 && record[0] == handshake && record[3] == 0 && record[4] == 0 && record[13] == serverHello
}

func (s *session) peer() net.Addr {
	if at := s.remote.Load(); at != nil {
		return net.UDPAddrFromAddrPort(*at)
	}
	return &net.UDPAddr{}
}

// Close implements net.PacketConn.
func (s *session) Close() error { return s.in.Close() }

// SetDeadline implements net.PacketConn.
func (s *session) SetDeadline(t time.Time) error { return s.in.SetReadDeadline(t) }

// SetReadDeadline implements net.PacketConn.
func (s *session) SetReadDeadline(t time.Time) error { return s.in.SetReadDeadline(t) }

// SetWriteDeadline implements net.PacketConn: writing never waits.
func (s *session) SetWriteDeadline(time.Time) error { return nil }

// shake carries the handshake out and returns the keys, and the association, which must be read from: a peer that has lost
// our last flight asks for it again (RFC 6347 §4.2.4).
func (s *session) shake(ctx context.Context, certificate tls.Certificate) (*dtls.Conn, media.Crypto, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	conn, err := s.open(certificate)
	if err != nil {
		return nil, media.Crypto{}, err
	}
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, media.Crypto{}, errors.Join(fmt.Errorf("media/dtls: handshake: %w", err), conn.Close())
	}
	keys, err := s.keys(conn)
	if err != nil {
		return nil, media.Crypto{}, errors.Join(err, conn.Close())
	}
	return conn, keys, nil
}

func (s *session) open(certificate tls.Certificate) (*dtls.Conn, error) {
	suites := make([]dtls.SRTPProtectionProfile, len(profiles))
	for i, p := range profiles {
		suites[i] = p.profile
	}
	options := []dtls.Option{
		dtls.WithCertificates(certificate), dtls.WithSRTPProtectionProfiles(suites...), dtls.WithInsecureSkipVerify(true),
		dtls.WithExtendedMasterSecret(dtls.RequestExtendedMasterSecret), dtls.WithVerifyPeerCertificate(s.verify),
		dtls.WithFlightInterval(flightEvery), dtls.WithMTU(packetsAtMost), dtls.WithLoggerFactory(quiet{}),
	}
	if s.wish.peer.Role == media.Active {
		o := make([]dtls.ClientOption, len(options))
		for i := range options {
			o[i] = options[i]
		}
		return dtls.ClientWithOptions(s, s.peer(), o...)
	}
	o := []dtls.ServerOption{dtls.WithClientAuth(dtls.RequireAnyClientCert)}
	for i := range options {
		o = append(o, options[i])
	}
	return dtls.ServerWithOptions(s, s.peer(), o...)
}

// verify compares the peer's certificate with what signalling vouched for: "the certificate presented MUST match one of
// the fingerprints" (RFC 8122 §6.2).
func (s *session) verify(certificates [][]byte, _ [][]*x509.Certificate) error {
	if len(certificates) == 0 || !s.wish.peer.Print.Hash.Valid() || fingerprint(s.wish.peer.Print.Hash, certificates[0]) != s.wish.peer.Print {
		return errPrint
	}
	return nil
}

// keys are cut out of the keying material: client's key, server's key, client's salt, server's salt (RFC 5764 §4.2).
func (s *session) keys(conn *dtls.Conn) (c media.Crypto, err error) {
	selected, ok := conn.SelectedSRTPProtectionProfile()
	state, up := conn.ConnectionState()
	if !ok || !up {
		return c, errors.New("media/dtls: the peer negotiated no SRTP (use_srtp)")
	}
	for _, p := range profiles {
		if p.profile != selected {
			continue
		}
		material, err := state.ExportKeyingMaterial(exporter, nil, 2*(p.key+p.salt))
		if err != nil {
			return c, fmt.Errorf("media/dtls: keying material: %w", err)
		}
		c.Suite = p.suite
		client, server := &c.Receive, &c.Send
		if s.wish.peer.Role == media.Active {
			client, server = server, client
		}
		copy(client[:], material[:p.key])
		copy(server[:], material[p.key:2*p.key])
		copy(client[p.key:], material[2*p.key:2*p.key+p.salt])
		copy(server[p.key:], material[2*p.key+p.salt:])
		return c, nil
	}
	return c, fmt.Errorf("media/dtls: SRTP profile %d was not offered", selected)
}

// quiet is a logger factory: what is worth saying comes as an error.
type quiet struct{}

// NewLogger implements logging.LoggerFactory.
func (quiet) NewLogger(string) logging.LeveledLogger { return mute{} }

type mute struct{}

func (mute) Trace(string)          {}
func (mute) Tracef(string, ...any) {}
func (mute) Debug(string)          {}
func (mute) Debugf(string, ...any) {}
func (mute) Info(string)           {}
func (mute) Infof(string, ...any)  {}
func (mute) Warn(string)           {}
func (mute) Warnf(string, ...any)  {}
func (mute) Error(string)          {}
func (mute) Errorf(string, ...any) {}
