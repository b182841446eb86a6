package natlab

import (
	"crypto/tls"
	"errors"
	"io"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat/natlab/authority"
)

// behind runs f in a bubble with a stream from a phone behind a box to port 5060 of B.
func behind(t *testing.T, o NATOptions, f func(t *testing.T, w *wire, box *NAT)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &wire{Network: New(Options{}), t: t}
		defer w.Close()
		box := w.NAT(publicAddr, o)
		w.accepting = serve(t, w.Host(addrB), 5060)
		w.dialled, w.b = w.connect(box.Host(homeAddr))
		f(t, w, box)
	})
}

func TestStreamThroughEveryKind(t *testing.T) {
	for _, o := range Kinds() {
		o.PreservePorts = o.Mapping == AddressDependent
		behind(t, o, func(t *testing.T, w *wire, box *NAT) {
			public, ok := box.MappedStream(w.dialled.local, w.accepting.local)
			if !ok || public.Addr() != publicAddr || w.b.remote != public {
				t.Errorf("%v: B sees %v, mapped to %v", o, w.b.remote, public)
			}
			say(t, w.dialled, w.b, "REGISTER")
			say(t, w.b, w.dialled, "200")
			time.Sleep(2 * time.Hour) // RFC 5382 REQ-5: idle for two hours is alive
			say(t, w.b, w.dialled, "INVITE")
			// From outside nobody connects, but where mapping and filter let a listener be found.
			listening := serve(t, box.Host(homeAddr), w.dialled.local.Port())
			_, err := w.Host(addrC).DialStream(t.Context(), netip.AddrPort{}, public)
			if open := o.Filtering == EndpointIndependent; (err == nil) != open {
				t.Errorf("%v: dialled from outside: %v", o, err)
			} else if open {
				c, err := listening.Accept()
				if err != nil || c.RemoteAddr().String()[:9] != addrC.String() {
					t.Errorf("%v: %v", o, err)
				}
			}
			_, _ = w.dialled.Close(), w.b.Close()
			if _, n := box.Mappings(); n != 1 {
				t.Errorf("%v: %d mappings", o, n)
			}
			time.Sleep(closingTimeout)
			want := 0
			if o.Filtering == EndpointIndependent {
				want = 1 // the one from outside
			}
			if _, n := box.Mappings(); n != want {
				t.Errorf("%v: %d mappings after a goodbye", o, n)
			}
		})
	}
}

// A lost mapping: both ends believe in the connection, until they speak, and then as the box and the peer decide.
func TestStreamLosesItsMapping(t *testing.T) {
	for _, c := range []struct {
		name         string
		resets       bool
		lose         func(*NAT)
		phone, trunk error // what each hears that speaks
	}{
		{"expired, silent box", false, func(*NAT) { time.Sleep(defaultStreamTimeout) }, syscall.ETIMEDOUT, syscall.ETIMEDOUT},
		{"forgotten, silent box", false, (*NAT).Forget, syscall.ETIMEDOUT, syscall.ETIMEDOUT},
		{"forgotten, box resets", true, (*NAT).Forget, syscall.ECONNRESET, syscall.ECONNRESET},
		{"rebound, box resets", true, (*NAT).Rebind, syscall.ECONNRESET, syscall.ECONNRESET},
	} {
		for _, phoneSpeaks := range []bool{true, false} {
			t.Run(c.name, func(t *testing.T) {
				behind(t, NATOptions{ResetUnknown: c.resets}, func(t *testing.T, w *wire, box *NAT) {
					say(t, w.dialled, w.b, "hello")
					c.lose(box)
					speaker, want := w.dialled, c.phone
					if !phoneSpeaks {
						speaker, want = w.b, c.trunk
					}
					if _, err := speaker.Write([]byte("anybody?")); err != nil {
						t.Errorf("the first write cannot know: %v", err)
					}
					if err := readError(speaker); !errors.Is(err, want) {
						t.Errorf("%v, want %v", err, want)
					}
					if _, n := box.Mappings(); n != 0 {
						t.Errorf("%d mappings made in the middle of a connection", n)
					}
					// The phone dials again and is well.
					again, accepted := w.connect(box.Host(homeAddr))
					say(t, accepted, again, "welcome back")
				})
			})
		}
	}
}

// A reset from either side ends the box's session at once.
func TestResetEndsTheSession(t *testing.T) {
	for _, phone := range []bool{true, false} {
		behind(t, NATOptions{}, func(t *testing.T, w *wire, box *NAT) {
			end, other := w.dialled, w.b
			if !phone {
				end, other = other, end
			}
			_ = end.SetLinger(0)
			_ = end.Close()
			if err := readError(other); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("%v", err)
			}
			if _, n := box.Mappings(); n != 0 {
				t.Errorf("%d mappings", n)
			}
		})
	}
}

func TestStreamTimeoutIsRefreshedFromBothSides(t *testing.T) {
	behind(t, NATOptions{StreamTimeout: 5 * time.Minute}, func(t *testing.T, w *wire, _ *NAT) {
		for range 10 {
			time.Sleep(4 * time.Minute)
			say(t, w.b, w.dialled, "\r\n\r\n")
			time.Sleep(4 * time.Minute)
			say(t, w.dialled, w.b, "\r\n\r\n")
		}
	})
}

func TestTwoPhonesDialThroughTwoBoxes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{Network: New(Options{Link: Link{Delay: 10 * time.Millisecond}}), t: t}
		defer w.Close()
		cgn := w.NAT(carrierAddr, NATOptions{Mapping: AddressAndPortDependent, Filtering: AddressAndPortDependent})
		w.accepting = serve(t, w.Host(addrB), 5061)
		for _, wan := range []string{"100.64.0.1", "100.64.0.2"} {
			phone, ours := w.connect(cgn.NAT(netip.MustParseAddr(wan), NATOptions{}).Host(homeAddr))
			if ours.remote.Addr() != carrierAddr {
				t.Errorf("seen as %v", ours.remote)
			}
			say(t, phone, ours, "up")
			say(t, ours, phone, "down")
		}
	})
}

// The real crypto/tls runs over it, loss and all. The handshake is one goroutine's affair: others would wait for its
// mutex, and a bubble's time stands still while one waits for a mutex.
func TestTLS(t *testing.T) {
	ca := authority.New("ca")
	own := ca.Issue("sbc.example")
	behind(t, NATOptions{}, func(t *testing.T, w *wire, _ *NAT) {
		w.Impair(anyone, anyone, Link{Delay: 20 * time.Millisecond, Loss: 0.05})
		server := tls.Server(w.b, &tls.Config{
			Certificates: []tls.Certificate{own}, Time: func() time.Time { return own.Leaf.NotBefore },
		})
		client := tls.Client(w.dialled, &tls.Config{
			RootCAs: ca.Pool(), ServerName: "sbc.example", Time: func() time.Time { return own.Leaf.NotBefore },
		})
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := io.Copy(server, server); err != nil {
				t.Error(err)
			}
			_ = server.Close()
		})
		if err := client.Handshake(); err != nil {
			t.Error(err)
		}
		want := pattern(30_000)
		wg.Go(func() {
			if _, err := client.Write(want); err != nil {
				t.Error(err)
			}
			_ = client.CloseWrite()
		})
		if got, err := io.ReadAll(client); err != nil || string(got) != string(want) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		wg.Wait()
	})
}
