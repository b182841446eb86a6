//go:build interop

package interop

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport/media/load"
)

const ngAddress = "127.0.0.1:2223"

// startRTPEngine starts rtpengine's relay in user space, with one thread for packets, and sets the streams up over its
// control protocol.
func startRTPEngine(t *testing.T, w *world, plan load.Plan) (*carrying, error) {
	if _, err := exec.LookPath("rtpengine"); err != nil {
		return nil, errors.New("not installed (apt-get install rtpengine-daemon)")
	}
	p := w.startKept(t, "rtpengine", "rtpengine", "--config-file=none", "--table=-1", "--foreground", "--log-stderr", "--log-level=3",
		"--interface=outside/"+plan.Relay[0].String(), "--interface=inside/"+plan.Relay[1].String(), "--listen-ng="+ngAddress,
		"--num-threads=1", "--port-min=20000", "--port-max=39999", "--delete-delay=0")
	until(t, "rtpengine listens", 10*time.Second, func() bool { return p.ended() || bound(p.pid(), ngAddress) })
	if p.ended() {
		return nil, errors.New(p.tail())
	}
	c := &carrying{process: p, streams: plan.Fixed()}
	ng := w.ng(t)
	for n := range c.streams {
		if err := ng.setUp(fmt.Sprint("call-", n), &c.streams[n]); err != nil {
			c.end(t)
			return nil, fmt.Errorf("stream %d: %w", n, err)
		}
	}
	c.churn = func(d time.Duration) (int, error) { return w.churnNG(t, plan, d) }
	return c, nil
}

// ngClient speaks rtpengine's control protocol.
type ngClient struct {
	conn   *net.UDPConn
	cookie int
	buf    []byte
}

func (w *world) ng(t *testing.T) *ngClient {
	t.Helper()
	return &ngClient{conn: w.socket(t, nsGate, "127.0.0.1:0"), buf: make([]byte, 65536)}
}

// setUp makes a call between the stream's peers and learns the relay's addresses.
func (c *ngClient) setUp(id string, s *load.Stream) (err error) {
	offer := []string{"command", "offer", "call-id", id, "from-tag", "caller", "sdp", sdpOf(s.Peers[0]), "ICE", "remove"}
	if s.Relay[1], err = c.ask(offer); err != nil {
		return err
	}
	answer := []string{"command", "answer", "call-id", id, "from-tag", "caller", "to-tag", "callee", "sdp", sdpOf(s.Peers[1]), "ICE", "remove"}
	s.Relay[0], err = c.ask(answer)
	return err
}

func (c *ngClient) tearDown(id string) error {
	_, err := c.request([]string{"command", "delete", "call-id", id, "from-tag", "caller"})
	return err
}

// ask makes a request whose reply has the relay's address for a peer in its SDP.
func (c *ngClient) ask(pairs []string) (netip.AddrPort, error) {
	reply, err := c.request(pairs)
	if err != nil {
		return netip.AddrPort{}, err
	}
	address, port := sdpAddress.FindStringSubmatch(reply), sdpPort.FindStringSubmatch(reply)
	if address == nil || port == nil {
		return netip.AddrPort{}, fmt.Errorf("no address in %q", reply)
	}
	return netip.ParseAddrPort(address[1] + ":" + port[1])
}

var (
	sdpAddress = regexp.MustCompile(`c=IN IP4 ([0-9.]+)`)
	sdpPort    = regexp.MustCompile(`m=audio ([0-9]+) `)
)

func (c *ngClient) request(pairs []string) (string, error) {
	c.cookie++
	cookie := fmt.Sprintf("%d_%d ", c.conn.LocalAddr().(*net.UDPAddr).Port, c.cookie)
	var b strings.Builder
	b.WriteString(cookie + "d")
	for _, text := range pairs {
		fmt.Fprintf(&b, "%d:%s", len(text), text)
	}
	b.WriteString("9:directionl7:outside6:insidee5:flagsl13:trust-addressee")
	for range 3 {
		if _, err := c.conn.WriteToUDPAddrPort([]byte(b.String()), netip.MustParseAddrPort(ngAddress)); err != nil {
			return "", err
		}
		_ = c.conn.SetReadDeadline(time.Now().Add(2 * time.Second))
		for {
			n, err := c.conn.Read(c.buf)
			if err != nil {
				break // it is asked again
			}
			reply, mine := strings.CutPrefix(string(c.buf[:n]), cookie)
			switch {
			case !mine:
			case strings.Contains(reply, "6:result2:ok"):
				return reply, nil
			default:
				return "", fmt.Errorf("rtpengine answers %q", reply)
			}
		}
	}
	return "", errors.New("rtpengine does not answer")
}

func sdpOf(peer netip.AddrPort) string {
	return fmt.Sprintf("v=0\r\no=- 1 1 IN IP4 %[1]s\r\ns=-\r\nc=IN IP4 %[1]s\r\nt=0 0\r\nm=audio %[2]d RTP/AVP 0\r\na=sendrecv\r\n", peer.Addr(), peer.Port())
}

// ngAtOnce is how many calls are being set up at a time: enough to keep rtpengine's thread busy.
const ngAtOnce = 8

// churnNG sets calls up and ends them.
func (w *world) churnNG(t *testing.T, plan load.Plan, d time.Duration) (setups int, err error) {
	var done atomic.Int64
	var all sync.WaitGroup
	errs := make([]error, ngAtOnce)
	streams := plan.Fixed()
	end := time.Now().Add(d)
	for n := range ngAtOnce {
		ng := w.ng(t)
		all.Go(func() {
			for i := 0; errs[n] == nil && time.Now().Before(end); i++ {
				id := fmt.Sprintf("churn-%d-%d", n, i)
				s := streams[n%len(streams)]
				if errs[n] = ng.setUp(id, &s); errs[n] == nil {
					errs[n] = ng.tearDown(id)
					done.Add(1)
				}
			}
		})
	}
	all.Wait()
	return int(done.Load()), errors.Join(errs...)
}
