//go:build linux

package epoll

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sallyport/media"
	"sallyport/media/rig"
)

// What the kernel says is when a datagram arrived, from the first one of a socket on, and not when it was asked.
func TestLastArrival(t *testing.T) {
	for _, own := range []string{rig.Own(5), "::1"} {
		fd, err := open(netip.MustParseAddr(own), media.Layout{ReceiveBuffer: 64 << 10})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = unix.Close(fd) }()
		if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(netip.MustParseAddr(own), 23499))); err != nil {
			t.Fatal(err)
		}
		var stamp unix.Timespec
		if lastArrival(int32(fd), &stamp) {
			t.Errorf("%s: a stamp of no datagram: %v", own, stamp)
		}
		from, _ := rig.At(t, own)
		awaitStamps(t)
		var between [4]time.Time // the datagrams arrive one in each interval
		for i := range 3 {
			between[i] = time.Now()
			rig.Send(t, from, rig.Packet, netip.AddrPortFrom(netip.MustParseAddr(own), 23499))
		}
		between[3] = time.Now()
		for i := range 3 {
			if _, _, err := unix.Recvfrom(fd, make([]byte, largest), unix.MSG_DONTWAIT); err != nil {
				t.Fatal(err)
			}
			if !lastArrival(int32(fd), &stamp) {
				t.Fatalf("%s: datagram %d has no stamp", own, i)
			}
			if at := stamp.Nano(); at < between[i].UnixNano() || at > between[i+1].UnixNano() {
				t.Errorf("%s: datagram %d arrived %d ns after it was sent, which took %v", own, i, at-between[i].UnixNano(), between[i+1].Sub(between[i]))
			}
		}
	}
}

// awaitStamps returns when the kernel stamps what arrives, which it begins a moment after the first socket of the machine asks.
func awaitStamps(t *testing.T) {
	t.Helper()
	c, at := rig.At(t, rig.Own(6))
	file, err := c.File()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	var stamp unix.Timespec
	lastArrival(int32(file.Fd()), &stamp)
	for end := time.Now().Add(10 * time.Second); ; { // a bound for failure
		rig.Send(t, c, rig.Packet, at)
		sent := time.Now()
		if _, _, err := rig.Receive(c, make([]byte, largest)); err != nil {
			t.Fatal(err)
		}
		if lastArrival(int32(file.Fd()), &stamp) && stamp.Nano() <= sent.UnixNano() {
			return
		}
		if sent.After(end) {
			t.Fatal("nothing is stamped")
		}
	}
}

// One of about sampleEvery is taken, and not always the same place of a batch.
func TestSample(t *testing.T) {
	var s sampler
	taken, places := 0, map[int]bool{}
	for n := range 64 * 1000 {
		if s.due() {
			taken++
			places[n%16] = true
		}
	}
	if taken < 900 || taken > 1100 || len(places) != 16 {
		t.Errorf("%d of 64,000 are taken, at %d places of sixteen", taken, len(places))
	}
}
