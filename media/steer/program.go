//go:build linux

package steer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"sallyport/media"
)

// programName is what `bpftool prog` shows. The kernel keeps 15 characters.
const programName = "sallyport_steer"

// Offsets in struct bpf_sk_lookup (linux/bpf.h).
const (
	ctxFamily    = 8
	ctxProtocol  = 12
	ctxLocalIP4  = 40 // network byte order
	ctxLocalIP6  = 44
	ctxLocalPort = 60 // host byte order
)

// steering is the program and its maps. Nothing is pinned: all of it ends with the descriptors, however they are closed.
type steering struct {
	pairs   *ebpf.Map // by pair: lane
	sockets *ebpf.Map
	program *ebpf.Program
	link    *link.NetNsLink
}

// lane is a pair's entry in the map. The counts are the program's own; processors that count at once lose some.
type lane struct {
	place  uint32 // of the socket + 1; 0: not ours
	count  uint32 // datagrams in the present window
	window uint64
}

// A pair hears at most so many datagrams in a window, 1,900 a second: several times those of a video stream. The rest
// goes to a socket that drops them, so that a flood of one port does not fill the buffer that all calls share.
const (
	perWindow   = 256
	windowShift = 27 // 2^27 ns, 134 ms
)

// newSteering loads a program that steers nothing yet. places is the length of the table of sockets, sink the first of two
// places in it (IPv4, IPv6) for what goes beyond limit in a window.
func newSteering(layout media.Layout, places, sink, limit int) (s *steering, err error) {
	s = &steering{}
	defer func() {
		if err != nil {
			s.close()
			s = nil
		}
	}()
	s.pairs, err = ebpf.NewMap(&ebpf.MapSpec{
		Name: "sallyport_pairs", Type: ebpf.Array, KeySize: 4, ValueSize: 16, MaxEntries: uint32(layout.Blocks * layout.Pairs),
	})
	if err != nil {
		return s, fmt.Errorf("media/steer: map of ports: %w", err)
	}
	s.sockets, err = ebpf.NewMap(&ebpf.MapSpec{
		Name: "sallyport_socks", Type: ebpf.SockMap, KeySize: 4, ValueSize: 8, MaxEntries: uint32(places),
	})
	if err != nil {
		return s, fmt.Errorf("media/steer: map of sockets: %w", err)
	}
	// The coarse clock is that of Linux 5.11.
	for _, clock := range []asm.BuiltinFunc{asm.FnKtimeGetCoarseNs, asm.FnKtimeGetNs} {
		s.program, err = ebpf.NewProgram(&ebpf.ProgramSpec{
			Name: programName, Type: ebpf.SkLookup, AttachType: ebpf.AttachSkLookup, License: "Apache-2.0",
			Instructions: instructions(layout, s.pairs.FD(), s.sockets.FD(), sink, limit, clock),
		})
		if err == nil {
			break
		}
	}
	if err != nil {
		return s, fmt.Errorf("media/steer: sk_lookup program: %w", err)
	}
	return s, nil
}

// attach lets the program see the datagrams of the calling thread's network namespace.
func (s *steering) attach() error {
	ns, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("media/steer: network namespace: %w", err)
	}
	defer func() { _ = unix.Close(ns) }()
	if s.link, err = link.AttachNetNs(ns, s.program); err != nil {
		return fmt.Errorf("media/steer: attaching the sk_lookup program: %w", err)
	}
	return nil
}

// socket gives a bound UDP socket its place.
func (s *steering) socket(place, fd int) error {
	if err := s.sockets.Update(uint32(place), uint64(fd), ebpf.UpdateAny); err != nil {
		return fmt.Errorf("media/steer: socket into the map: %w", err)
	}
	return nil
}

// lead steers a pair of ports to a socket's place.
func (s *steering) lead(pair, place int) error {
	if err := s.pairs.Update(uint32(pair), laneTo(place), ebpf.UpdateAny); err != nil {
		return fmt.Errorf("media/steer: port pair into the map: %w", err)
	}
	return nil
}

// laneTo is the entry of a pair that leads to a place.
func laneTo(place int) []byte {
	b := make([]byte, unsafe.Sizeof(lane{}))
	binary.NativeEndian.PutUint32(b[unsafe.Offsetof(lane{}.place):], uint32(place)+1)
	return b
}

// close ends steering first, so that no datagram meets half of it.
func (s *steering) close() {
	if s == nil {
		return
	}
	if s.link != nil {
		_ = s.link.Close()
	}
	if s.program != nil {
		_ = s.program.Close()
	}
	for _, m := range []*ebpf.Map{s.sockets, s.pairs} {
		if m != nil {
			_ = m.Close()
		}
	}
}

// Jump targets of the program.
const (
	atPass   = "pass"
	atOurs   = "ours"
	atHeard  = "heard"
	atChosen = "chosen"
	atCount  = "counting"
)

// instructions is the program. It passes everything on untouched but the UDP datagrams to a port pair of ours, for which
// it names the socket. A socket that an earlier program has chosen stays chosen (bpf_sk_assign without
// BPF_SK_LOOKUP_F_REPLACE): a second relay on the same ports takes no calls from the first.
func instructions(layout media.Layout, pairs, sockets, sink, limit int, clock asm.BuiltinFunc) asm.Instructions {
	code := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R2, asm.R6, ctxProtocol, asm.Word),
		asm.JNE.Imm(asm.R2, unix.IPPROTO_UDP, atPass),
		// A port below the range becomes a number above it.
		asm.LoadMem(asm.R7, asm.R6, ctxLocalPort, asm.Word),
		asm.Sub.Imm(asm.R7, int32(layout.First)),
		asm.JGE.Imm(asm.R7, int32(layout.Pairs*2), atPass),
		asm.RSh.Imm(asm.R7, 1),
		asm.LoadMem(asm.R2, asm.R6, ctxFamily, asm.Word),
	}
	for block := range layout.Blocks {
		code = append(code, matchAddress(layout.Addresses[block], block*layout.Pairs, fmt.Sprint("block", block))...)
	}
	code = append(code, asm.Ja.Label(atPass))
	code = append(code, lookUp(pairs, asm.R7, atOurs)...)
	code = append(code, asm.Mov.Reg(asm.R7, asm.R0))
	code = append(code, choosePlace(sink, limit, clock)...)
	code = append(code, lookUp(sockets, asm.R8, atChosen)...)
	return append(code,
		asm.Mov.Reg(asm.R7, asm.R0),
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.Mov.Reg(asm.R2, asm.R7),
		asm.Mov.Imm(asm.R3, 0),
		asm.FnSkAssign.Call(),
		asm.Mov.Reg(asm.R1, asm.R7),
		asm.FnSkRelease.Call(),

		asm.Mov.Imm(asm.R0, 1).WithSymbol(atPass), // SK_PASS: go on with the choice, or without one
		asm.Return(),
	)
}

// lookUp puts the entry of a map for the number in a register into R0, and passes if there is none.
func lookUp(fd int, number asm.Register, label string) asm.Instructions {
	return asm.Instructions{
		asm.StoreMem(asm.RFP, -4, number, asm.Word).WithSymbol(label),
		asm.LoadMapPtr(asm.R1, fd),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, atPass),
	}
}

// choosePlace counts a datagram in the lane that R7 points to, and puts the place of its socket into R8.
func choosePlace(sink, limit int, clock asm.BuiltinFunc) asm.Instructions {
	const place, count, window = int16(unsafe.Offsetof(lane{}.place)), int16(unsafe.Offsetof(lane{}.count)), int16(unsafe.Offsetof(lane{}.window))
	return asm.Instructions{
		asm.LoadMem(asm.R8, asm.R7, place, asm.Word),
		asm.JEq.Imm(asm.R8, 0, atPass),
		asm.Sub.Imm(asm.R8, 1),

		clock.Call(),
		asm.RSh.Imm(asm.R0, windowShift),
		asm.LoadMem(asm.R1, asm.R7, window, asm.DWord),
		asm.JEq.Reg(asm.R1, asm.R0, atCount),
		asm.StoreMem(asm.R7, window, asm.R0, asm.DWord),
		asm.StoreImm(asm.R7, count, 0, asm.Word),
		asm.LoadMem(asm.R1, asm.R7, count, asm.Word).WithSymbol(atCount),
		asm.JLT.Imm(asm.R1, int32(limit), atHeard),

		// Too much: to the sink of the family, which the last bit of a place tells.
		asm.And.Imm(asm.R8, 1),
		asm.Add.Imm(asm.R8, int32(sink)),
		asm.Ja.Label(atChosen),

		asm.Add.Imm(asm.R1, 1).WithSymbol(atHeard),
		asm.StoreMem(asm.R7, count, asm.R1, asm.Word),
	}
}

// matchAddress adds first to the pair in R7 and jumps to atOurs if the datagram's family (R2) and destination are those
// of an address. Comparisons are of 32 bits: wider ones would extend the constant's sign.
func matchAddress(a netip.Addr, first int, label string) asm.Instructions {
	miss := label + "-miss"
	family, words, at := unix.AF_INET, a.AsSlice(), int16(ctxLocalIP4)
	if a.Is6() {
		family, at = unix.AF_INET6, ctxLocalIP6
	}
	code := asm.Instructions{asm.JNE.Imm(asm.R2, int32(family), miss)}
	for ; len(words) > 0; words, at = words[4:], at+4 {
		code = append(code,
			asm.LoadMem(asm.R3, asm.R6, at, asm.Word),
			asm.JNE.Imm32(asm.R3, int32(binary.NativeEndian.Uint32(words)), miss))
	}
	return append(code,
		asm.Add.Imm(asm.R7, int32(first)),
		asm.Ja.Label(atOurs),
		asm.Mov.Reg(asm.R3, asm.R2).WithSymbol(miss), // a place to jump to
	)
}

// attached lists the programs that steer sockets in the calling thread's network namespace.
func attached() (ids []ebpf.ProgramID, err error) {
	ns, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("media/steer: network namespace: %w", err)
	}
	defer func() { _ = unix.Close(ns) }()
	list, err := link.QueryPrograms(link.QueryOptions{Target: ns, Attach: ebpf.AttachSkLookup})
	if err != nil {
		return nil, errors.Join(errors.New("media/steer: listing sk_lookup programs"), err)
	}
	for _, p := range list.Programs {
		ids = append(ids, p.ID)
	}
	return ids, nil
}
