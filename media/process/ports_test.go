package process_test

import (
	"net"
	"net/netip"
	"path/filepath"
	"testing"

	"sallyport/media"
	"sallyport/media/epoll"
	"sallyport/media/process"
)

// opening is a carrier that says when its ports have been opened.
type opening struct {
	process.Carrier
	opened func()
}

func (o *opening) Open(l media.Layout, hears media.Listener) (*media.Board, error) {
	b, err := o.Carrier.Open(l, hears)
	o.opened()
	return b, err
}

// A process that ends still gives its ports back, a few at a time: the next one has all of them. Ports that stay somebody else's are done
// without.
func TestPortsThatComeFree(t *testing.T) {
	for name, c := range map[string]struct{ kept, missing int }{"all": {0, 0}, "all but four": {4, 4}} {
		t.Run(name, func(t *testing.T) {
			cfg := config(25700)
			var held []*net.UDPConn
			for port := cfg.First; port < cfg.First+12; port++ {
				l, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(cfg.Addresses[0], port)))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = l.Close() })
				held = append(held, l)
			}
			left := held[:len(held)-c.kept] // to be closed, four each time that the ports are opened
			free := func() {
				for range min(4, len(left)) {
					_ = left[0].Close()
					left = left[1:]
				}
			}
			socket := filepath.Join(t.TempDir(), "media.sock")
			serve(t, process.ServeOptions{Socket: socket, Build: "test", Backend: func(board process.MakeBoard) process.Carrier {
				return &opening{epoll.New(epoll.Options{Process: true, Board: board}), free}
			}})
			p, err := media.New(cfg, process.New(process.Options{Socket: socket, Build: "test"}), 1)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = p.Close() }()
			if n := len(p.Missing()); n != c.missing {
				t.Errorf("%d ports are missing, want %d", n, c.missing)
			}
		})
	}
}
