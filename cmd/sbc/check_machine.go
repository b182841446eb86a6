package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"

	"sallyport/nat"
	"sallyport/sbc/config"
)

// What `sbc check --live` finds out about the machine: whether the addresses of the configuration are its own, whether the listeners'
// ports are free, and whether the ports of media are safe from what the kernel gives to others.

// housed tries each listener for a moment, by open, where the program does not run already; that of one that does only tells of addresses.
func housed(snap *config.Snapshot, runs bool, open func(*nat.Interface) error, report *config.Report) {
	told := map[netip.Addr]bool{}
	for i := range snap.Interfaces {
		f := &snap.Interfaces[i]
		p := placed(snap, f.Side.String()+".address")
		switch err := open(f); {
		case err == nil, told[f.Bind.Addr()]:
			continue
		case errors.Is(err, syscall.EADDRNOTAVAIL):
			told[f.Bind.Addr()] = true
			p.What = f.Bind.Addr().String() + " is not an address of this machine"
			p.Hint = "write one of its own (ip address lists them); what the world sees instead, behind a NAT, goes into external_address"
		case errors.Is(err, syscall.EADDRINUSE) && runs:
			continue // by ourselves
		case errors.Is(err, syscall.EADDRINUSE):
			p.What = fmt.Sprintf("%s %s is held by another program", f.Transport, f.Bind)
			p.Hint = fmt.Sprintf("stop it (ss -lnp 'sport = :%d' names it), or set another port in %s.%s", f.Bind.Port(), f.Side, f.Realm)
		case errors.Is(err, fs.ErrPermission):
			p.What = fmt.Sprintf("%s %s cannot be opened by this user", f.Transport, f.Bind)
			p.Hint = "a port below 1024 wants CAP_NET_BIND_SERVICE: deploy/sbc.service says how; this was tried with the rights of this command"
			report.Warnings = append(report.Warnings, p)
			continue
		default:
			p.What = fmt.Sprintf("%s %s cannot be opened: %v", f.Transport, f.Bind, err)
		}
		report.Errors = append(report.Errors, p)
	}
}

// openOnce opens the socket of a listener and closes it again.
func openOnce(f *nat.Interface) error {
	if f.Transport == nat.UDP {
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(f.Bind))
		if err != nil {
			return err
		}
		return c.Close()
	}
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(f.Bind))
	if err != nil {
		return err
	}
	return l.Close()
}

// ephemeral warns where the kernel may give ports of media to other programs. read reads a file of /proc/sys/net/ipv4.
func ephemeral(snap *config.Snapshot, read func(name string) string, report *config.Report) {
	given, ok := portsOf(strings.Join(strings.Fields(read("ip_local_port_range")), "-"))
	if !ok {
		return
	}
	first, last := max(int(snap.Media.FirstPort), given[0]), min(int(snap.Media.LastPort), given[1])
	if first > last {
		return
	}
	for part := range strings.SplitSeq(read("ip_local_reserved_ports"), ",") {
		if kept, ok := portsOf(part); ok && kept[0] <= first && kept[1] >= last {
			return
		}
	}
	p := placed(snap, "media.ports")
	p.What = fmt.Sprintf("%d-%d are among the ports that this machine gives to outgoing connections (%d-%d): some will be held by other programs", first, last, given[0], given[1])
	p.Hint = fmt.Sprintf("echo net.ipv4.ip_local_reserved_ports=%d-%d > /etc/sysctl.d/61-sbc.conf && sysctl --system, or take ports below %d",
		snap.Media.FirstPort, snap.Media.LastPort, given[0])
	report.Warnings = append(report.Warnings, p)
}

// portsOf reads "first-last", or one port.
func portsOf(text string) (ports [2]int, ok bool) {
	from, to, isRange := strings.Cut(strings.TrimSpace(text), "-")
	if !isRange {
		to = from
	}
	a, err := strconv.Atoi(from)
	b, err2 := strconv.Atoi(to)
	return [2]int{a, b}, err == nil && err2 == nil
}

// readSysctl is a setting of IPv4; "": it cannot be read.
func readSysctl(name string) string {
	data, err := os.ReadFile("/proc/sys/net/ipv4/" + name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
