package transport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"

	"sallyport/nat"
)

func TestPortInUse(t *testing.T) {
	for _, addr := range []string{"127.0.0.1", "::1"} {
		t.Run(addr, func(t *testing.T) {
			_, _, at := loopback(t, addr, known, nil)
			_, err := Listen(Config{
				Interfaces: []nat.Interface{face(0, nat.Inside, nat.Phones, at.String())},
				Guard:      guardFunc(known), Handler: &inbox{},
			})
			if !errors.Is(err, syscall.EADDRINUSE) {
				t.Fatalf("error %v", err)
			}
			for _, want := range []string{"inside/phones udp " + at.String(), fmt.Sprintf("(pid %d)", os.Getpid()), "inside.phones"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q lacks %q", err, want)
				}
			}
		})
	}
}

func TestNotOurAddress(t *testing.T) {
	_, err := Listen(Config{
		Interfaces: []nat.Interface{face(0, nat.Outside, nat.Trunks, "192.0.2.1:5080")},
		Guard:      guardFunc(known), Handler: &inbox{},
	})
	if !errors.Is(err, syscall.EADDRNOTAVAIL) || !strings.Contains(err.Error(), "outside.address") {
		t.Errorf("error %v", err)
	}
}

func TestListenErrorTexts(t *testing.T) {
	f := face(0, nat.Outside, nat.Trunks, ours)
	for err, want := range map[error]string{
		syscall.EADDRINUSE:    "another program",
		syscall.EADDRNOTAVAIL: "external_address",
		syscall.EACCES:        "CAP_NET_BIND_SERVICE",
		syscall.EMFILE:        "LimitNOFILE",
		syscall.ENOMEM:        "cannot allocate memory",
	} {
		if got := listenError(&f, err, false); !strings.Contains(got.Error(), want) || !errors.Is(got, err) ||
			!strings.HasPrefix(got.Error(), f.String()) {
			t.Errorf("%v: %v", err, got)
		}
	}
}

func TestSameSocket(t *testing.T) {
	little := binary.NativeEndian.Uint16([]byte{1, 0}) == 1
	if !little {
		t.Skip("the samples are of a little-endian machine")
	}
	for _, c := range []struct {
		local, bind string
		want        bool
	}{
		{"0100007F:13D8", "127.0.0.1:5080", true},
		{"00000000:13D8", "127.0.0.1:5080", true},
		{"0200007F:13D8", "127.0.0.1:5080", false},
		{"0100007F:13D9", "127.0.0.1:5080", false},
		{"00000000000000000000000001000000:13D8", "[::1]:5080", true},
		{"00000000000000000000000000000000:13D8", "127.0.0.1:5080", true},
		{"0000000000000000FFFF00000100007F:13D8", "127.0.0.1:5080", true},
		{"", "127.0.0.1:5080", false}, {"zz:13D8", "127.0.0.1:5080", false}, {"01:13D8", "127.0.0.1:5080", false},
	} {
		if got := sameSocket(c.local, netip.MustParseAddrPort(c.bind)); got != c.want {
			t.Errorf("%s for %s: %v", c.local, c.bind, got)
		}
	}
}

func TestWhichICMPCounts(t *testing.T) {
	for _, c := range []struct {
		what               string
		errno              syscall.Errno
		origin, kind, code uint8
		want               bool
	}{
		{"port unreachable", syscall.ECONNREFUSED, originICMP, 3, 3, true},
		{"host unreachable", syscall.EHOSTUNREACH, originICMP, 3, 1, true},
		{"administratively prohibited", syscall.EHOSTUNREACH, originICMP, 3, 13, true},
		{"fragmentation needed", syscall.EMSGSIZE, originICMP, 3, 4, false},
		{"parameter problem", syscall.EPROTO, originICMP, 12, 0, true},
		{"TTL exceeded", syscall.EHOSTUNREACH, originICMP, 11, 0, false},
		{"source quench", 0, originICMP, 4, 0, false},
		{"v6 port unreachable", syscall.ECONNREFUSED, originICMP6, 1, 4, true},
		{"v6 too big", syscall.EMSGSIZE, originICMP6, 2, 0, false},
		{"v6 time exceeded", syscall.EHOSTUNREACH, originICMP6, 3, 0, false},
		{"v6 parameter problem", syscall.EPROTO, originICMP6, 4, 0, true},
		{"no route", syscall.ENETUNREACH, originLocal, 0, 0, true},
		{"too long for the interface", syscall.EMSGSIZE, originLocal, 0, 0, false},
		{"a time stamp", 0, 4, 0, 0, false},
	} {
		if got := counts(c.errno, c.origin, c.kind, c.code); got != c.want {
			t.Errorf("%s: %v", c.what, got)
		}
	}
	if unreachableReport(nil) || unreachableReport([]byte{1, 2, 3}) || unreachableReport(make([]byte, 64)) {
		t.Error("no report taken for one")
	}
}
