package media_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sallyport/media"
	"sallyport/media/epoll"
	"sallyport/media/process"
	"sallyport/media/sim"
	"sallyport/media/steer"
	"sallyport/nat"
)

// socketVariable makes the test binary a media process on that socket.
const socketVariable = "SALLYPORT_MEDIA_SOCKET"

func TestMain(m *testing.M) {
	if socket := os.Getenv(socketVariable); socket != "" {
		err := process.Become()
		if err == nil {
			err = process.Serve(context.Background(), process.ServeOptions{Socket: socket, Build: "test", Follow: true})
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// own is a loopback address that no other run of these tests uses.
func own(kind byte) netip.Addr {
	pid := os.Getpid()
	return netip.AddrFrom4([4]byte{127, kind, byte(pid >> 8), byte(pid)})
}

// The peers of every case.
var peers = map[string]netip.AddrPort{
	"phone":           netip.AddrPortFrom(own(1), 14000),
	"phone rtcp":      netip.AddrPortFrom(own(1), 14001),
	"phone elsewhere": netip.AddrPortFrom(own(1), 14002),
	"pbx":             netip.AddrPortFrom(own(2), 15000),
	"pbx rtcp":        netip.AddrPortFrom(own(2), 15001),
	"attacker":        netip.AddrPortFrom(own(6), 14000),
}

// door is one of the four ports of a stream.
type door struct {
	side nat.Side
	rtcp int
}

var (
	outsideRTP, outsideRTCP = door{nat.Outside, 0}, door{nat.Outside, 1}
	insideRTP, insideRTCP   = door{nat.Inside, 0}, door{nat.Inside, 1}
)

// rig is a plane on one back end, with one stream and the peers' sockets.
type rig struct {
	t     *testing.T
	plane *media.Plane
	id    media.ID
	local [2]netip.AddrPort
	// send puts a datagram on the wire; next waits for one at a peer.
	send func(from string, to netip.AddrPort, payload []byte)
	next func(at string) (from netip.AddrPort, payload []byte)
	// settled returns when what was pointed is in force; nil: it is at once.
	settled func()
	// renew loses the engine and waits for the next one; nil: it is not lost without the plane.
	renew func()
	// sockets are the peers', where they are real.
	sockets map[string]*net.UDPConn
}

func (r *rig) at(d door) netip.AddrPort {
	a := r.local[d.side]
	return netip.AddrPortFrom(a.Addr(), a.Port()+uint16(d.rtcp))
}

func (r *rig) point(side nat.Side, w media.Want) {
	r.t.Helper()
	if err := r.plane.Point(r.id, side, w); err != nil {
		r.t.Fatal(err)
	}
	if r.settled != nil {
		r.settled()
	}
}

func (r *rig) rejected(why media.Rejection) (n uint64) {
	legs, ok := r.plane.Stats(r.id)
	if !ok {
		r.t.Fatal("no stats")
	}
	return legs[0].Rejected[why] + legs[1].Rejected[why]
}

func (r *rig) reserve(b media.Backend, first uint16) {
	r.t.Helper()
	cfg := media.Config{
		Addresses: [2]netip.Addr{own(3), own(4)},
		First:     first, Last: first + 19, DSCP: 46,
	}
	var err error
	if r.plane, err = media.New(cfg, b, 7); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = r.plane.Close() })
	if r.id, r.local, err = r.plane.Reserve(time.Now()); err != nil {
		r.t.Fatal(err)
	}
}

func simRig(t *testing.T) *rig {
	type datagram struct {
		from    netip.AddrPort
		payload []byte
	}
	inbox := make(map[netip.AddrPort][]datagram)
	b := sim.New(nil, func(local, dest netip.AddrPort, payload []byte) {
		inbox[dest] = append(inbox[dest], datagram{local, bytes.Clone(payload)})
	})
	r := &rig{t: t}
	r.reserve(b, 20000)
	r.send = func(from string, to netip.AddrPort, payload []byte) { b.Inject(to, peers[from], payload) }
	r.next = func(at string) (netip.AddrPort, []byte) {
		list := inbox[peers[at]]
		if len(list) == 0 {
			t.Fatalf("nothing reached %s", at)
		}
		inbox[peers[at]] = list[1:]
		return list[0].from, list[0].payload
	}
	return r
}

func epollRig(t *testing.T) *rig { return socketRig(t, epoll.New(epoll.Options{}), 20100) }

func steerRig(t *testing.T) *rig {
	if err := steer.Probe(); err != nil {
		t.Skip(err)
	}
	return socketRig(t, steer.New(steer.Options{}), 20200)
}

// processRig is a relay in another process: the test binary, started anew.
func processRig(t *testing.T) *rig {
	socket := filepath.Join(t.TempDir(), "media.sock")
	t.Setenv(socketVariable, socket)
	b := process.New(process.Options{Socket: socket, Build: "test", Program: os.Args[0]})
	r := socketRig(t, b, 20300)
	r.settled = func() {
		if err := b.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	r.renew = func() {
		before := r.plane.Gauges().Renewals
		if err := syscall.Kill(b.State().PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		for limit := time.Now().Add(10 * time.Second); r.plane.Gauges().Renewals == before; {
			if time.Now().After(limit) {
				t.Fatal("no other process came")
			}
		}
		r.settled()
	}
	return r
}

// socketRig has real sockets for peers.
func socketRig(t *testing.T, b media.Backend, first uint16) *rig {
	sockets := make(map[string]*net.UDPConn)
	for name, at := range peers {
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		sockets[name] = c
	}
	r := &rig{t: t, sockets: sockets}
	r.reserve(b, first)
	r.send = func(from string, to netip.AddrPort, payload []byte) {
		if _, err := sockets[from].WriteToUDPAddrPort(payload, to); err != nil {
			t.Fatal(err)
		}
	}
	r.next = func(at string) (netip.AddrPort, []byte) {
		t.Helper()
		buf := make([]byte, 2048)
		_ = sockets[at].SetReadDeadline(time.Now().Add(5 * time.Second)) // a bound for failure, not a measure
		n, from, err := sockets[at].ReadFromUDPAddrPort(buf)
		if err != nil {
			t.Fatalf("nothing reached %s: %v", at, err)
		}
		return netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), buf[:n]
	}
	return r
}

// step is a datagram and what becomes of it: it reaches a peer from a door, or is rejected.
type step struct {
	from    string
	to      door
	payload []byte
	why     media.Rejection
	dest    string
	via     door
}

func (r *rig) run(steps []step) {
	r.t.Helper()
	for n, s := range steps {
		before := r.rejected(s.why)
		r.send(s.from, r.at(s.to), s.payload)
		if s.why == media.Accepted {
			from, payload := r.next(s.dest)
			if from != r.at(s.via) || !bytes.Equal(payload, s.payload) {
				r.t.Fatalf("step %d: %d bytes from %v, want %d from %v", n, len(payload), from, len(s.payload), r.at(s.via))
			}
			continue
		}
		// The port's socket is first in, first out: the count moves when the datagram has been judged.
		for limit := time.Now().Add(5 * time.Second); r.rejected(s.why) == before; {
			if time.Now().After(limit) {
				legs, _ := r.plane.Stats(r.id)
				r.t.Fatalf("step %d: not rejected for %v: %v %v", n, s.why, legs[0].Rejected, legs[1].Rejected)
			}
		}
	}
}

// want is a leg of an answered call with PCMU and telephone events.
func want(peer string) media.Want {
	return media.Want{
		RTP: peers[peer], Payloads: payloads(0, 101), Send: true, Receive: true, Final: true,
		Timeout: time.Minute, Hold: time.Hour,
	}
}

func payloads(list ...uint8) (set [2]uint64) {
	for _, pt := range list {
		set[pt>>6] |= 1 << (pt & 63)
	}
	return set
}

func with(w media.Want, change func(*media.Want)) media.Want {
	change(&w)
	return w
}

var backendCases = []struct {
	name            string
	outside, inside media.Want
	steps           []step
}{
	{"both ways", want("phone"), want("pbx"), []step{
		{from: "phone", to: outsideRTP, payload: rtp(0, 1, 1), dest: "pbx", via: insideRTP},
		{from: "pbx", to: insideRTP, payload: rtp(0, 9, 2), dest: "phone", via: outsideRTP},
		{from: "phone rtcp", to: outsideRTCP, payload: rtcp(1), dest: "pbx rtcp", via: insideRTCP},
		{from: "pbx rtcp", to: insideRTCP, payload: rtcp(2), dest: "phone rtcp", via: outsideRTCP},
	}},
	{"strangers", want("phone"), want("pbx"), []step{
		{from: "attacker", to: outsideRTP, payload: rtp(0, 1, 1), why: media.RejectedSource},
		{from: "phone elsewhere", to: outsideRTP, payload: rtp(0, 1, 1), why: media.RejectedSource},
		{from: "phone", to: insideRTP, payload: rtp(0, 1, 1), why: media.RejectedSource},
		{from: "attacker", to: outsideRTCP, payload: rtcp(1), why: media.RejectedSource},
		{from: "phone", to: outsideRTP, payload: rtp(0, 1, 1), dest: "pbx", via: insideRTP},
	}},
	{"no media", want("phone"), want("pbx"), []step{
		{from: "phone", to: outsideRTP, payload: nil, why: media.RejectedJunk},
		{from: "phone", to: outsideRTP, payload: []byte{0x80}, why: media.RejectedJunk},
		{from: "phone", to: outsideRTP, payload: []byte("jaK\r\n\r\n"), why: media.RejectedJunk},
		{from: "phone", to: outsideRTP, payload: stun(), why: media.RejectedSTUN},
		{from: "phone", to: outsideRTP, payload: dtls(), why: media.RejectedDTLS},
		{from: "phone", to: outsideRTP, payload: rtcp(1), why: media.RejectedPort},
		{from: "phone rtcp", to: outsideRTCP, payload: rtp(0, 1, 1), why: media.RejectedJunk},
	}},
	{"longer than any packet", want("phone"), want("pbx"), []step{
		{from: "phone", to: outsideRTP, payload: append(rtp(0, 1, 1), make([]byte, 1300)...), dest: "pbx", via: insideRTP},
	}},
	{"mux outside only", with(want("phone"), func(w *media.Want) { w.Mux = true }), want("pbx"), []step{
		{from: "phone", to: outsideRTP, payload: rtcp(1), dest: "pbx rtcp", via: insideRTCP},
		{from: "pbx rtcp", to: insideRTCP, payload: rtcp(2), dest: "phone", via: outsideRTP},
		{from: "phone rtcp", to: outsideRTCP, payload: rtcp(1), why: media.RejectedPort},
		{from: "phone", to: outsideRTP, payload: rtp(0, 1, 1), dest: "pbx", via: insideRTP},
	}},
	{"mux both sides", with(want("phone"), func(w *media.Want) { w.Mux = true }),
		with(want("pbx"), func(w *media.Want) { w.Mux = true }), []step{
			{from: "phone", to: outsideRTP, payload: rtcp(1), dest: "pbx", via: insideRTP},
			{from: "pbx", to: insideRTP, payload: rtcp(1), dest: "phone", via: outsideRTP},
		}},
	{"rtcp where the SDP says", with(want("phone"), func(w *media.Want) { w.RTCP = peers["phone elsewhere"] }), want("pbx"), []step{
		{from: "phone elsewhere", to: outsideRTCP, payload: rtcp(1), dest: "pbx rtcp", via: insideRTCP},
		{from: "pbx rtcp", to: insideRTCP, payload: rtcp(1), dest: "phone elsewhere", via: outsideRTCP},
		{from: "phone rtcp", to: outsideRTCP, payload: rtcp(1), why: media.RejectedSource},
	}},
	{"hold with music", with(want("phone"), func(w *media.Want) { w.Receive = false }),
		with(want("pbx"), func(w *media.Want) { w.Send = false }), []step{
			{from: "pbx", to: insideRTP, payload: rtp(0, 1, 1), dest: "phone", via: outsideRTP},
			{from: "phone", to: outsideRTP, payload: rtp(0, 1, 1), why: media.RejectedDirection},
			{from: "phone rtcp", to: outsideRTCP, payload: rtcp(1), dest: "pbx rtcp", via: insideRTCP},
		}},
	{"media sources", with(want("phone"), func(w *media.Want) {
		w.Sources = []netip.Prefix{netip.PrefixFrom(own(6), 16)}
	}), want("pbx"), []step{
		{from: "attacker", to: outsideRTP, payload: rtp(0, 1, 1), dest: "pbx", via: insideRTP},
		{from: "pbx", to: insideRTP, payload: rtp(0, 1, 1), dest: "phone", via: outsideRTP},
		{from: "phone elsewhere", to: outsideRTP, payload: rtp(0, 1, 1), why: media.RejectedSource},
	}},
	{"image", with(want("phone"), func(w *media.Want) { w.Opaque = true }),
		with(want("pbx"), func(w *media.Want) { w.Opaque = true }), []step{
			{from: "phone", to: outsideRTP, payload: []byte{0, 7, 1, 6, 0}, dest: "pbx", via: insideRTP},
			{from: "pbx", to: insideRTP, payload: []byte{0, 1, 1, 6, 0}, dest: "phone", via: outsideRTP},
			{from: "phone", to: outsideRTP, payload: stun(), why: media.RejectedSTUN},
			{from: "attacker", to: outsideRTP, payload: []byte{0, 7, 1, 6, 0}, why: media.RejectedSource},
		}},
	{"nowhere yet", want("phone"), with(want("pbx"), func(w *media.Want) { w.RTP = netip.AddrPort{} }), []step{
		{from: "phone", to: outsideRTP, payload: rtp(0, 1, 1), why: media.RejectedNowhere},
	}},
	{"signalling address with the SDP's port", with(want("phone"), func(w *media.Want) {
		w.RTP, w.Fallback = netip.AddrPortFrom(netip.Addr{}, 14000), peers["phone"].Addr()
	}), want("pbx"), []step{
		{from: "pbx", to: insideRTP, payload: rtp(0, 1, 1), dest: "phone", via: outsideRTP},
		{from: "pbx rtcp", to: insideRTCP, payload: rtcp(1), dest: "phone rtcp", via: outsideRTCP},
		{from: "phone", to: outsideRTP, payload: rtp(0, 1, 1), dest: "pbx", via: insideRTP},
	}},
	{"latch", with(want("phone"), func(w *media.Want) {
		w.RTP, w.Fallback, w.Latch = netip.AddrPortFrom(netip.Addr{}, 9000), peers["phone"].Addr(), media.Delayed
	}), want("pbx"), []step{
		{from: "phone", to: outsideRTP, payload: rtp(0, 1, 1), why: media.RejectedLearn},
		{from: "phone", to: outsideRTP, payload: rtp(0, 2, 1), why: media.RejectedLearn},
		{from: "phone", to: outsideRTP, payload: rtp(0, 3, 1), dest: "pbx", via: insideRTP},
		{from: "pbx", to: insideRTP, payload: rtp(0, 1, 2), dest: "phone", via: outsideRTP},
		{from: "phone elsewhere", to: outsideRTP, payload: rtp(0, 4, 1), why: media.RejectedSource},
		{from: "attacker", to: outsideRTP, payload: rtp(0, 4, 1), why: media.RejectedSource},
	}},
}

func TestBackends(t *testing.T) {
	for name, rigOf := range map[string]func(*testing.T) *rig{"sim": simRig, "epoll": epollRig, "steer": steerRig, "process": processRig} {
		for _, c := range backendCases {
			t.Run(fmt.Sprintf("%s/%s", name, c.name), func(t *testing.T) {
				r := rigOf(t)
				r.point(nat.Outside, c.outside)
				r.point(nat.Inside, c.inside)
				r.run(c.steps)
			})
		}
	}
}
