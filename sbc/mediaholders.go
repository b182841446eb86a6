package sbc

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"sallyport/media/process"
	"sallyport/sbc/config"
	"sallyport/sbc/transport"
)

// Media ports that others hold: whoever starts a gate is told who they are. A port that is bound has an owner (/proc); one that another
// media process steers to a socket of its own has none, and that process is found by what it was started as.

// portHolders finds out who has ports.
type portHolders struct {
	bound     func(at netip.AddrPort) string // "": nobody, or nobody can tell
	processes func() fs.FS                   // /proc
}

// lookedAt bounds the ports that are asked for: each reads a table of the kernel.
const lookedAt = 8

// explain adds to an error of media whose ports are in use who has them; ours is the media process that refused, if one did. Other
// errors stay as they are.
func (h *portHolders) explain(err error, m *config.Media) error {
	if !errors.Is(err, syscall.EADDRINUSE) {
		return err
	}
	ours := 0
	if refused, ok := errors.AsType[*process.RefusedError](err); ok {
		ours = refused.PID
	}
	who := h.first(m)
	if who == "" {
		who = h.another(ours)
	}
	const instead = "stop it, or give this gate ports of its own: media.ports (--rtp-ports)"
	if who == "" {
		return fmt.Errorf("%w\n  hint: ss -lnup names who holds them, for root; %s", err, instead)
	}
	return fmt.Errorf("%w\n  hint: %s: %s", err, who, instead)
}

// first says who has one of the first ports.
func (h *portHolders) first(m *config.Media) string {
	asked := 0
	for port := int(m.FirstPort); port <= int(m.LastPort); port++ {
		for _, a := range slices.Concat(m.Addresses[0], m.Addresses[1]) {
			if asked++; asked > lookedAt {
				return ""
			}
			at := netip.AddrPortFrom(a, uint16(port))
			if who := h.bound(at); who != "" {
				return at.String() + " is held by " + who
			}
		}
	}
	return ""
}

// mediaArguments are what a media process is started with.
var mediaArguments = []byte("\x00media\x00serve\x00")

// another names a media process besides ours.
func (h *portHolders) another(ours int) string {
	proc := h.processes()
	list, _ := fs.Glob(proc, "[0-9]*/cmdline")
	for _, name := range list {
		line, err := fs.ReadFile(proc, name)
		pid := path.Dir(name)
		if err != nil || pid == strconv.Itoa(ours) || !bytes.Contains(line, mediaArguments) {
			continue
		}
		who := "the media process of another sbc (pid " + pid
		args := strings.Split(string(line), "\x00")
		if i := slices.Index(args, "--socket"); i >= 0 && i+1 < len(args) {
			who += ", " + args[i+1]
		}
		return who + ") seems to have them"
	}
	return ""
}

// whoHolds names who has a media port that was left out.
func (h *portHolders) whoHolds(at netip.AddrPort) string {
	if who := h.bound(at); who != "" {
		return who
	}
	return "another program"
}

// holdersHere finds them on this machine.
func holdersHere() *portHolders {
	return &portHolders{
		bound:     func(at netip.AddrPort) string { return transport.Holder(at, false) },
		processes: func() fs.FS { return os.DirFS("/proc") },
	}
}
