//go:build interop

package interop

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"time"
)

var telephoneName = regexp.MustCompile(`^\+?[0-9]+$`)

// handset is the media of a call: it says its telephone's name, and counts whom it hears.
type handset struct {
	name  string
	conn  *net.UDPConn
	port  int
	mu    sync.Mutex
	to    netip.AddrPort // zero: held, or not known
	said  int
	ears  map[string]int // packets by what is said in them
	other int            // those that say no telephone's name
	done  chan struct{}
}

func (u *agentUser) handset(name string) *handset {
	v := &handset{name: name, ears: map[string]int{}, done: make(chan struct{})}
	u.w.enter(u.ns, func() { v.conn, _ = net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(u.address)}) })
	v.port = v.conn.LocalAddr().(*net.UDPAddr).Port
	go v.speak()
	go v.listen()
	return v
}

// towards takes where a description has its stream.
func (v *handset) towards(sdp string) {
	var address string
	var port int
	if sdp == "" {
		return
	}
	for line := range strings.SplitSeq(sdp, "\r\n") {
		_, _ = fmt.Sscanf(line, "c=IN IP4 %s", &address)
		_, _ = fmt.Sscanf(line, "m=audio %d", &port)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.to = netip.AddrPort{}
	a, err := netip.ParseAddr(address)
	if err == nil && port != 0 && !strings.Contains(sdp, "a=sendonly") && !strings.Contains(sdp, "a=inactive") {
		v.to = netip.AddrPortFrom(a, uint16(port))
	}
}

func (v *handset) speak() {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	packet := make([]byte, 172)
	copy(packet, []byte{0x80, 0})
	ssrc := v.port * 7919
	copy(packet[8:], []byte{byte(ssrc >> 24), byte(ssrc >> 16), byte(ssrc >> 8), byte(ssrc)})
	copy(packet[12:], fmt.Sprintf("%-160s", v.name))
	for i := 0; ; i++ {
		select {
		case <-v.done:
			return
		case <-tick.C:
		}
		v.mu.Lock()
		to := v.to
		if to.IsValid() {
			v.said++
		}
		v.mu.Unlock()
		packet[2], packet[3] = byte(i>>8), byte(i)
		stamp := i * 160
		copy(packet[4:8], []byte{byte(stamp >> 24), byte(stamp >> 16), byte(stamp >> 8), byte(stamp)})
		if to.IsValid() {
			_, _ = v.conn.WriteToUDPAddrPort(packet, to)
		}
	}
}

func (v *handset) listen() {
	buf := make([]byte, 2048)
	for {
		n, err := v.conn.Read(buf)
		if err != nil {
			return
		}
		if n > 12 && buf[0]>>6 == 2 && buf[1]&0x7f == 0 {
			v.mu.Lock()
			if name := strings.TrimSpace(string(buf[12:n])); telephoneName.MatchString(name) {
				v.ears[name]++
			} else {
				v.other++
			}
			v.mu.Unlock()
		}
	}
}

// from is how many packets of a telephone it has heard.
func (v *handset) from(name string) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.ears[name]
}

// strange is how many packets it has heard that no telephone of the test's own has said.
func (v *handset) strange() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.other
}

// forget counts anew.
func (v *handset) forget() {
	v.mu.Lock()
	defer v.mu.Unlock()
	clear(v.ears)
	v.other = 0
}

func (v *handset) stop() {
	v.mu.Lock()
	defer v.mu.Unlock()
	select {
	case <-v.done:
	default:
		close(v.done)
	}
}

func (v *handset) close() {
	v.stop()
	v.conn.Close()
}
