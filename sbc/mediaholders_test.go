package sbc

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"sallyport/media/process"
	"sallyport/sbc/config"
	"sallyport/sbc/transport"
)

// TestWhoHoldsMediaPorts: an error about ports in use names who has them, if anything tells; every other error stays as it is.
func TestWhoHoldsMediaPorts(t *testing.T) {
	pool := &config.Media{FirstPort: 30000, LastPort: 31000, Addresses: [2][]netip.Addr{
		{netip.MustParseAddr("203.0.113.10")}, {netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fd00::2")},
	}}
	inUse := fmt.Errorf("media: %w", syscall.EADDRINUSE)
	processes := fstest.MapFS{
		"1/cmdline":   {Data: []byte("/sbin/init\x00")},
		"77/cmdline":  {Data: []byte("/usr/bin/sbc\x00media\x00serve\x00--follow\x00--socket\x00/run/sbc/ours.sock\x00")},
		"88/cmdline":  {Data: []byte("/usr/bin/sbc\x00media\x00serve\x00--socket\x00/run/sbc/media.sock\x00")},
		"self/status": {Data: []byte("x")},
	}
	for _, c := range []struct {
		name  string
		err   error
		bound map[string]string
		proc  fs.FS
		want  string
	}{
		{"another error", fmt.Errorf("media: %w", syscall.EMFILE), nil, processes, "media: too many open files"},
		{"bound", inUse, map[string]string{"10.0.0.2:30001": "asterisk (pid 812)"}, processes,
			"media: address already in use\n  hint: 10.0.0.2:30001 is held by asterisk (pid 812): stop it, or give this gate ports of its own: media.ports (--rtp-ports)"},
		{"bound far behind", inUse, map[string]string{"10.0.0.2:30900": "asterisk (pid 812)"}, fstest.MapFS{}, "media: address already in use\n  hint: ss -lnup names"},
		{"steered", fmt.Errorf("media: %w", &portsRefused{process.RefusedError{PID: 77, Text: "every port pair"}}), nil, processes,
			"\n  hint: the media process of another sbc (pid 88, /run/sbc/media.sock) seems to have them: stop it"},
		{"nobody to be seen", inUse, nil, fstest.MapFS{"1/cmdline": {Data: []byte("init")}}, "\n  hint: ss -lnup names who holds them, for root; stop it"},
	} {
		h := portHolders{bound: func(at netip.AddrPort) string { return c.bound[at.String()] }, processes: func() fs.FS { return c.proc }}
		got := h.explain(c.err, pool)
		if !strings.Contains(got.Error(), c.want) || !errors.Is(got, c.err) {
			t.Errorf("%s: %v\nwant %s", c.name, got, c.want)
		}
	}
}

// portsRefused is a media process's word that the ports are in use.
type portsRefused struct{ process.RefusedError }

func (r *portsRefused) Unwrap() []error { return []error{&r.RefusedError, syscall.EADDRINUSE} }

// TestHolderOfAPortHere: of a port that this process has, this process is named.
func TestHolderOfAPortHere(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	if who := holdersHere().whoHolds(at); !strings.Contains(who, fmt.Sprintf("(pid %d)", os.Getpid())) {
		t.Errorf("%s is held by %q", at, who)
	}
	_ = conn.Close()
	if who := transport.Holder(at, false); who != "" {
		t.Errorf("%s is held by nobody, not by %s", at, who)
	}
}
