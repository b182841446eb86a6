package transport

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"sallyport/nat"
)

// listenError says why an interface cannot be opened and what to do about it. Of the kernel's sockets it knows more.
func listenError(face *nat.Interface, err error, kernel bool) error {
	hint := "see the system's log"
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		who := "another program"
		if kernel {
			who = cmp.Or(holder(face.Bind, face.Transport.Reliable()), who)
		}
		hint = fmt.Sprintf("the port is held by %s: stop it, or set another port in %s.%s", who, face.Side, face.Realm)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		hint = fmt.Sprintf("not an address of this machine%s: set %s.address to one of its own; what the world sees "+
			"goes into external_address", own(kernel), face.Side)
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		hint = "not permitted: ports below 1024 need CAP_NET_BIND_SERVICE, or use another port"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		hint = "too many open files: raise LimitNOFILE (ulimit -n)"
	}
	return fmt.Errorf("%s: cannot listen: %s: %w", face, hint, err)
}

// own lists the machine's addresses for the hint.
func own(kernel bool) string {
	addrs, err := net.InterfaceAddrs()
	if err != nil || !kernel {
		return ""
	}
	var list []string
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && !p.Addr().IsLoopback() && !p.Addr().IsLinkLocalUnicast() {
			list = append(list, p.Addr().String())
		}
	}
	if len(list) == 0 {
		return ""
	}
	return " (" + strings.Join(list, ", ") + ")"
}

// listening is the state of a TCP socket that listens (proc_net_tcp).
const listening = "0A"

// holder names the program that holds a UDP or TCP port, as far as this process may know: "asterisk (pid 812)", or "a
// program of user 108".
func holder(bind netip.AddrPort, tcp bool) string {
	tables := [...]string{"/proc/net/udp", "/proc/net/udp6"}
	if tcp {
		tables = [...]string{"/proc/net/tcp", "/proc/net/tcp6"}
	}
	for _, table := range tables {
		text, err := os.ReadFile(table)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) < 10 || !sameSocket(f[1], bind) || tcp && f[3] != listening {
				continue
			}
			if name := owner(f[9]); name != "" {
				return name
			}
			return "a program of user " + f[7]
		}
	}
	return ""
}

// sameSocket compares a local address of /proc/net/udp or tcp (32-bit words in the machine's order) with one that could not be
// bound: the same port, and the same address or a wildcard.
func sameSocket(local string, bind netip.AddrPort) bool {
	host, port, ok := strings.Cut(local, ":")
	if !ok || !strings.EqualFold(port, fmt.Sprintf("%04X", bind.Port())) {
		return false
	}
	raw, err := hex.DecodeString(host)
	if err != nil || len(raw)%4 != 0 {
		return false
	}
	for word := range slices.Chunk(raw, 4) {
		binary.BigEndian.PutUint32(word, binary.NativeEndian.Uint32(word))
	}
	a, ok := netip.AddrFromSlice(raw)
	return ok && (a.IsUnspecified() || a.Unmap() == bind.Addr().Unmap().WithZone(""))
}

// owner finds the process that has a socket open, by the socket's inode.
func owner(inode string) string {
	links, _ := filepath.Glob("/proc/[0-9]*/fd/[0-9]*") // other users' are not readable: they do not match
	for _, l := range links {
		if to, err := os.Readlink(l); err != nil || to != "socket:["+inode+"]" {
			continue
		}
		pid := strings.Split(l, "/")[2]
		name, err := os.ReadFile("/proc/" + pid + "/comm")
		if err != nil {
			return "process " + pid
		}
		return strings.TrimSpace(string(name)) + " (pid " + pid + ")"
	}
	return ""
}
