package media_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	piondtls "github.com/pion/dtls/v3"
	"github.com/pion/srtp/v3"
	pionstun "github.com/pion/stun/v3"
	"github.com/pion/transport/v5/packetio"

	"sallyport/media"
	gatedtls "sallyport/media/dtls"
	"sallyport/media/ice"
	"sallyport/nat"
)

// browser is a peer with ICE and DTLS-SRTP, of another make than ours: full ICE, controlling.
type browser struct {
	t       *testing.T
	socket  *net.UDPConn
	to      netip.AddrPort
	own     tls.Certificate
	checks  chan *pionstun.Message
	records *packetio.Buffer
	media   chan []byte
	once    bool // what it says in a handshake it says but once
}

var credentials = ice.Credentials{
	Fragment: [ice.FragmentLen]byte([]byte("fragment")), Password: [ice.PasswordLen]byte([]byte("passwordOfTwentyFourChar")),
}

const soon = 10 * time.Second // a bound for failure

func newBrowser(t *testing.T, port uint16, to netip.AddrPort) *browser {
	t.Helper()
	own1, _, err := gatedtls.NewCertificate(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(own(1), port)))
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t, socket: c, to: to, own: own1, checks: make(chan *pionstun.Message, 8), records: packetio.NewBuffer(), media: make(chan []byte, 64)}
	done := make(chan struct{})
	go b.read(done)
	t.Cleanup(func() { _, _, _ = c.Close(), b.records.Close(), <-done })
	return b
}

// read sorts what comes (RFC 7983).
func (b *browser) read(done chan struct{}) {
	defer close(done)
	for {
		buf := make([]byte, 2048)
		n, _, err := b.socket.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		switch buf = buf[:n]; {
		case buf[0] < 4:
			m := &pionstun.Message{Raw: buf}
			if m.Decode() == nil {
				b.checks <- m
			}
		case buf[0] >= 20 && buf[0] < 64:
			_, _ = b.records.Write(buf, nil)
		default:
			b.media <- buf
		}
	}
}

func (b *browser) send(payload []byte) {
	if _, err := b.socket.WriteToUDPAddrPort(payload, b.to); err != nil {
		b.t.Error(err)
	}
}

func (b *browser) print() media.Identity {
	sum := sha256.Sum256(b.own.Certificate[0])
	id := media.Identity{Role: media.Passive, Print: media.Fingerprint{Hash: media.SHA256}}
	copy(id.Print.Value[:], sum[:])
	return id
}

// check sends a check that nominates, and waits for its answer.
func (b *browser) check() {
	b.t.Helper()
	password := pionstun.NewShortTermIntegrity(string(credentials.Password[:]))
	m, err := pionstun.Build(pionstun.TransactionID, pionstun.BindingRequest, pionstun.NewUsername(string(credentials.Fragment[:])+":theirs"),
		pionstun.RawAttribute{Type: pionstun.AttrICEControlling, Value: make([]byte, 8)}, pionstun.RawAttribute{Type: pionstun.AttrPriority, Value: []byte{1, 2, 3, 4}},
		pionstun.RawAttribute{Type: pionstun.AttrUseCandidate}, password, pionstun.Fingerprint)
	if err != nil {
		b.t.Fatal(err)
	}
	b.send(m.Raw)
	select {
	case answer := <-b.checks:
		var at pionstun.XORMappedAddress
		if err := errors.Join(password.Check(answer), at.GetFrom(answer)); err != nil || answer.Type != pionstun.BindingSuccess ||
			at.Port != b.socket.LocalAddr().(*net.UDPAddr).Port {
			b.t.Fatalf("%v: %v %v", answer, err, at)
		}
	case <-time.After(soon):
		b.t.Fatal("a check was not answered")
	}
}

// The browser is a net.PacketConn for DTLS.
func (b *browser) ReadFrom(p []byte) (int, net.Addr, error) {
	n, _, err := b.records.Read(p, nil)
	return n, net.UDPAddrFromAddrPort(b.to), err
}
func (b *browser) WriteTo(p []byte, _ net.Addr) (int, error) { b.send(p); return len(p), nil }
func (b *browser) Close() error                              { return b.records.Close() }
func (b *browser) LocalAddr() net.Addr                       { return b.socket.LocalAddr() }
func (b *browser) SetDeadline(t time.Time) error             { return b.records.SetReadDeadline(t) }
func (b *browser) SetReadDeadline(t time.Time) error         { return b.records.SetReadDeadline(t) }
func (b *browser) SetWriteDeadline(time.Time) error          { return nil }

// shake carries out a handshake as its client and returns the contexts of what it sends and hears.
func (b *browser) shake(want media.Fingerprint) (send, hear *srtp.Context) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), soon)
	defer cancel()
	again := time.Second
	if b.once {
		again = 2 * soon
	}
	conn, err := piondtls.ClientWithOptions(b, net.UDPAddrFromAddrPort(b.to), piondtls.WithCertificates(b.own), piondtls.WithInsecureSkipVerify(true),
		piondtls.WithSRTPProtectionProfiles(piondtls.SRTP_AES128_CM_HMAC_SHA1_80), piondtls.WithFlightInterval(again))
	if err != nil {
		b.t.Fatal(err)
	}
	if err := conn.HandshakeContext(ctx); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = conn.Close() })
	state, _ := conn.ConnectionState()
	if sum := sha256.Sum256(state.PeerCertificates[0]); !bytes.Equal(sum[:], want.Value[:32]) {
		b.t.Error("another certificate than the board tells")
	}
	material, err := state.ExportKeyingMaterial("EXTRACTOR-dtls_srtp", nil, 60)
	if err != nil {
		b.t.Fatal(err)
	}
	context := func(key, salt []byte) *srtp.Context {
		c, err := srtp.CreateContext(key, salt, srtp.ProtectionProfileAes128CmHmacSha1_80)
		if err != nil {
			b.t.Fatal(err)
		}
		return c
	}
	return context(material[:16], material[32:46]), context(material[16:32], material[46:])
}

// A browser shows where it is, then who it is, and is then heard and hears, protected; the other side has plain RTP.
func TestBrowser(t *testing.T) {
	for name, open := range map[string]func(*testing.T) *rig{"epoll": epollRig, "steer": steerRig, "process": processRig} {
		t.Run(name, func(t *testing.T) { testBrowser(t, open(t)) })
	}
}

func testBrowser(t *testing.T, r *rig) {
	b := newBrowser(t, 14100, r.at(outsideRTP))
	print, ok := r.plane.Fingerprint()
	if !ok {
		t.Fatal("the back end has no handshakes")
	}
	r.point(nat.Outside, with(want("phone"), func(w *media.Want) {
		w.RTP, w.Mux, w.ICE, w.Peer, w.Latch = netip.AddrPortFrom(netip.Addr{}, 9), true, credentials, b.print(), media.Strict
	}))
	r.point(nat.Inside, with(want("pbx"), func(w *media.Want) { w.CNAMEs = callKey }))

	b.check()
	send, hear := b.shake(print)
	b.talk(r, send, hear, 1)
	b.learnsNothing(r, hear)
	if r.renew != nil {
		// The keys outlive the process that agreed on them; nobody shakes hands again.
		r.renew()
		b.talk(r, send, hear, 200)
		b.learnsNothing(r, hear)
	}

	// Whoever has not checked, or sends plain, is not heard; nor is a check with another password answered.
	r.run([]step{
		{from: "attacker", to: outsideRTP, payload: rtp(0, 9, 7), why: media.RejectedSource},
		{from: "phone", to: outsideRTP, payload: rtp(0, 9, 7), why: media.RejectedSource},
		{from: "attacker", to: outsideRTP, payload: stunRequest(t), why: media.RejectedSTUN},
	})
	before := r.rejected(media.RejectedAuth)
	b.send(rtp(0, 1000, 7))
	for limit := time.Now().Add(soon); r.rejected(media.RejectedAuth) == before; {
		if time.Now().After(limit) {
			t.Fatal("plain RTP of the browser's own address was not refused")
		}
	}
}

func stunRequest(t *testing.T) []byte {
	m, err := pionstun.Build(pionstun.TransactionID, pionstun.BindingRequest, pionstun.NewUsername(string(credentials.Fragment[:])+":x"),
		pionstun.NewShortTermIntegrity("guessed"), pionstun.Fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	return m.Raw
}

// talk has the browser heard at the PBX, and the PBX at the browser.
func (b *browser) talk(r *rig, send, hear *srtp.Context, first uint16) {
	b.t.Helper()
	got := make(chan []byte, 1)
	go func() {
		_, p := r.next("pbx")
		got <- p
	}()
	// The gate's thread may not have heard of the keys when the browser has its own: as with a lost first packet.
	for seq, heard := first, false; !heard; seq++ {
		plain := rtp(0, seq, 7)
		secret, err := send.EncryptRTP(nil, plain, nil)
		if err != nil {
			b.t.Fatal(err)
		}
		b.send(secret)
		select {
		case p := <-got:
			if len(p) != len(plain) || !bytes.Equal(p[12:], plain[12:]) {
				b.t.Fatalf("the PBX hears %x", p)
			}
			heard = true
		case <-time.After(50 * time.Millisecond):
			if seq > first+100 {
				b.t.Fatal("the PBX hears nothing")
			}
		}
	}
	answer := rtp(0, 77+first, 8)
	r.send("pbx", r.at(insideRTP), answer)
	select {
	case p := <-b.media:
		if bytes.Contains(p, answer[12:]) {
			b.t.Error("it came unprotected")
		}
		opened, err := hear.DecryptRTP(nil, p, nil)
		if err != nil || !bytes.Equal(opened[12:], answer[12:]) {
			b.t.Errorf("%v: %x, want %x", err, opened, answer)
		}
	case <-time.After(soon):
		b.t.Fatal("the browser hears nothing")
	}
}
