package main

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sallyport/nat"
	"sallyport/sbc/config"
)

func machineConfig(t *testing.T, ports string) *config.Snapshot {
	t.Helper()
	file := filepath.Join(t.TempDir(), "sbc.yaml")
	text := "outside: { address: 127.81.14.1, phones: { udp: 5060 }, trunks: { udp: 5080 } }\ninside: { address: 127.81.14.2, phones: { udp: 5060 }, trunks: { udp: 5080 } }\n" +
		"pbx: { domain: example.com, nodes: [ { address: \"127.81.14.3:5060\" } ] }\nmedia: { ports: " + ports + " }\n" +
		"trunks: [ { name: itsp, peers: [ { address: \"127.81.14.4:5060\" } ] } ]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	snap, report := config.Load(file, config.Flags{})
	if snap == nil {
		t.Fatal(report.String())
	}
	return snap
}

// TestTheMachine: addresses that are not there, ports that others hold, rights that are missing.
func TestTheMachine(t *testing.T) {
	snap := machineConfig(t, "30000-31000")
	for _, tt := range []struct {
		name   string
		fails  map[string]error // by address
		runs   bool
		errors []string
		warns  string
	}{
		{"all well", nil, false, nil, ""},
		{"not ours", map[string]error{"127.81.14.1:5060": syscall.EADDRNOTAVAIL, "127.81.14.1:5080": syscall.EADDRNOTAVAIL}, false,
			[]string{"1:21: outside.address: 127.81.14.1 is not an address of this machine"}, ""},
		{"not ours, while it runs elsewhere", map[string]error{"127.81.14.2:5060": syscall.EADDRNOTAVAIL}, true,
			[]string{"2:20: inside.address: 127.81.14.2 is not an address of this machine"}, ""},
		{"taken", map[string]error{"127.81.14.2:5080": syscall.EADDRINUSE}, false, []string{"udp 127.81.14.2:5080 is held by another program"}, ""},
		{"taken by ourselves", map[string]error{"127.81.14.2:5080": syscall.EADDRINUSE}, true, nil, ""},
		{"no right", map[string]error{"127.81.14.2:5080": syscall.EACCES}, false, nil, "CAP_NET_BIND_SERVICE"},
		{"something else", map[string]error{"127.81.14.2:5080": syscall.ENOBUFS}, false, []string{"udp 127.81.14.2:5080 cannot be opened: no buffer space"}, ""},
	} {
		var report config.Report
		housed(snap, tt.runs, func(f *nat.Interface) error { return tt.fails[f.Bind.String()] }, &report)
		if len(report.Errors) != len(tt.errors) {
			t.Errorf("%s: %s", tt.name, report.Full())
			continue
		}
		for _, want := range append(tt.errors, tt.warns) {
			if !strings.Contains(report.Full(), want) {
				t.Errorf("%s: no %q in\n%s", tt.name, want, report.Full())
			}
		}
	}
}

// TestOpenOnce: a port that is free is free afterwards, and one that is held is not.
func TestOpenOnce(t *testing.T) {
	for _, transport := range []nat.Transport{nat.UDP, nat.TCP} {
		f := nat.Interface{Transport: transport, Bind: netip.MustParseAddrPort("127.81.14.9:5066")}
		for range 2 {
			if err := openOnce(&f); err != nil {
				t.Fatal(err)
			}
		}
		f.Bind = netip.MustParseAddrPort("192.0.2.77:5066")
		if err := openOnce(&f); err == nil {
			t.Error("an address of somebody else is ours")
		}
	}
	held, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.81.14.9:5067")))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := openOnce(&nat.Interface{Bind: netip.MustParseAddrPort("127.81.14.9:5067")}); err == nil {
		t.Error("a port is held twice")
	}
}

// TestEphemeral: ports that the kernel gives away are told, unless they are reserved.
func TestEphemeral(t *testing.T) {
	for _, tt := range []struct{ ports, given, reserved, want string }{
		{"30000-31000", "32768\t60999", "", ""},
		{"32000-33999", "32768\t60999", "", "32768-33999 are among the ports that this machine gives to outgoing connections (32768-60999)"},
		{"32000-33999", "32768\t60999", "8080,32000-33999", ""},
		{"32000-33999", "32768\t60999", "32768-33000", "32768-33999 are among"},
		{"32000-33999", "", "", ""}, {"32000-33999", "many", "", ""},
	} {
		var report config.Report
		ephemeral(machineConfig(t, tt.ports), func(name string) string {
			return map[string]string{"ip_local_port_range": tt.given, "ip_local_reserved_ports": tt.reserved}[name]
		}, &report)
		if got := report.Full(); tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
			t.Errorf("%+v: %s", tt, got)
		}
	}
}
