//go:build linux

package epoll

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"sallyport/media"
	"sallyport/nat"
)

// Load is a fixed load for measuring the engine alone, in a process of its own: Streams streams between generator
// addresses.
type Load struct {
	Config  media.Config
	Streams int
	// Peers are the generator's addresses of the first stream, by nat.Side; each further stream uses the next address
	// and the same port.
	Peers [2]netip.AddrPort
}

// memoryLimit makes the collector run, should anything ever allocate; nothing does.
const memoryLimit = 256 << 20

// Serve relays a Load until in ends or ctx is done. It first writes one line a stream, the two RTP addresses outside and
// inside, and "ready"; last "cpu NANOSECONDS packets NUMBER": processor time, user and system, since ready, and
// datagrams relayed. The process must do nothing else: Serve turns the collector off and leaves one processor to the
// worker. GODEBUG=asyncpreemptoff=1 belongs in its environment, else the scheduler's signals interrupt the waits.
func Serve(ctx context.Context, load Load, in io.Reader, out io.Writer) error {
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(memoryLimit)
	runtime.GOMAXPROCS(2) // the worker's and one for everything else
	plane, err := media.New(load.Config, New(Options{Process: true}), 1)
	if err != nil {
		return err
	}
	ids, err := load.point(plane, out)
	if err != nil {
		_ = plane.Close()
		return err
	}
	start := ProcessorTime()
	if _, err := fmt.Fprintln(out, "ready"); err != nil {
		_ = plane.Close()
		return fmt.Errorf("media/epoll: telling the generator: %w", err)
	}
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, in)
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
	used, packets := ProcessorTime()-start, uint64(0)
	for _, id := range ids {
		legs, _ := plane.Stats(id)
		packets += legs[nat.Outside].Sent + legs[nat.Inside].Sent
	}
	if err := plane.Close(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "cpu %d packets %d\n", used.Nanoseconds(), packets)
	return err
}

// point sets the streams up and names their ports.
func (load Load) point(plane *media.Plane, out io.Writer) (ids []media.ID, err error) {
	peers := load.Peers
	for range load.Streams {
		id, local, err := plane.Reserve(time.Now())
		if err != nil {
			return nil, fmt.Errorf("media/epoll: stream %d of %d: %w", len(ids)+1, load.Streams, err)
		}
		for side, peer := range peers {
			w := media.Want{RTP: peer, Payloads: [2]uint64{1}, Send: true, Receive: true, Final: true}
			if err := plane.Point(id, nat.Side(side), w); err != nil {
				return nil, err
			}
			peers[side] = netip.AddrPortFrom(peer.Addr().Next(), peer.Port())
		}
		if _, err := fmt.Fprintln(out, local[nat.Outside], local[nat.Inside]); err != nil {
			return nil, fmt.Errorf("media/epoll: telling the generator: %w", err)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// ProcessorTime is what this process has used so far, user and system.
func ProcessorTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
