//go:build linux

package steer

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"sallyport/media"
)

// errFamilies is what Open says to a layout with IPv4 and IPv6 on one side.
var errFamilies = &unavailableError{reason: "it serves one address on each side, and one of the sides has IPv4 and IPv6", cause: unix.EAFNOSUPPORT}

// Families tells why two addresses on a side cannot be steered; nil if there are none.
func Families(others ...netip.Addr) error {
	for _, a := range others {
		if a.IsValid() {
			return errFamilies
		}
	}
	return nil
}

// ErrUnavailable is what every error of Probe, and of Open for the same reasons, is told by: use media/epoll instead.
var ErrUnavailable = errors.New("media/steer: unavailable")

// Probe tries for a moment what Open needs: a raw socket, and a program attached to the calling thread's network
// namespace that steers nothing; for the families of the addresses, of none for IPv4. It returns nil if all is allowed,
// else an error in words for the administrator, with the capabilities or the kernel's feature that are missing. Where IPv4
// could be steered and IPv6 could not, it says so. Nothing is left behind.
func Probe(addresses ...netip.Addr) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	v6 := slices.ContainsFunc(addresses, func(a netip.Addr) bool { return !a.Unmap().Is4() })
	if err := explain(try(nowhere4)); err != nil || !v6 {
		return err
	}
	if err := explain(try(nowhere6)); err != nil {
		return onlyIPv4(err)
	}
	return nil
}

// Addresses for documentation (RFC 5737, RFC 3849): no pair is led anywhere.
var (
	nowhere4 = netip.AddrFrom4([4]byte{192, 0, 2, 1})
	nowhere6 = netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 15: 1})
)

func try(nowhere netip.Addr) error {
	fd, err := unix.Socket(family(nowhere), unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return fmt.Errorf("media/steer: raw socket: %w", err)
	}
	_ = unix.Close(fd)
	s, err := newSteering(media.Layout{Addresses: [2]netip.Addr{nowhere, nowhere}, First: 2, Pairs: 1, Blocks: 1}, 2, 0, perWindow)
	if err != nil {
		return err
	}
	defer s.close()
	return s.attach()
}

// explain says of a refusal what the administrator can do about it. Other errors pass.
func explain(err error) error {
	if err == nil || !refusedByKernel(err) {
		return err
	}
	return &unavailableError{reason: observe().reason(err), cause: err}
}

// unavailableError says what the administrator can do about a refusal.
type unavailableError struct {
	reason string
	cause  error
}

func (e *unavailableError) Error() string {
	return fmt.Sprintf("%v: %s: use backend: epoll, or change that (%v)", ErrUnavailable, e.reason, e.cause)
}

func (e *unavailableError) Unwrap() []error { return []error{ErrUnavailable, e.cause} }

// onlyIPv4 says of a refusal that it concerns one family.
func onlyIPv4(err error) error {
	if e, ok := errors.AsType[*unavailableError](err); ok {
		return &unavailableError{reason: "IPv4 could be steered, IPv6 could not: " + e.reason, cause: e.cause}
	}
	return fmt.Errorf("IPv6: %w", err)
}

// Reason is what stands behind an error of Probe or Open, without the rest; "" of nil.
func Reason(err error) string {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*unavailableError](err); ok {
		return e.reason
	}
	return err.Error()
}

func refusedByKernel(err error) bool {
	for _, e := range []error{unix.EPERM, unix.EACCES, unix.ENOSYS, unix.EINVAL, unix.EOPNOTSUPP, unix.EPROTONOSUPPORT, unix.EAFNOSUPPORT, ebpf.ErrNotSupported} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// facts are what is known of the machine and the process.
type facts struct {
	kernel      [2]int // major, minor
	release     string
	effective   uint64 // capabilities of the thread, as a bit set
	memlock     uint64 // soft limit in bytes
	userNS      bool   // not the machine's own user namespace
	seccomp     bool   // a filter on system calls
	unreadable  error  // the capabilities cannot be read
	restrictive string // the kernel's lockdown, if any
}

// The first kernels with: sk_lookup; a capability of its own for eBPF; no limit of locked memory for maps.
var (
	kernelSteers  = [2]int{5, 9}
	kernelCapBPF  = [2]int{5, 8}
	kernelMemcg   = [2]int{5, 11}
	memlockEnough = uint64(8 << 20)
)

func observe() (f facts) {
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		f.release = unix.ByteSliceToString(u.Release[:])
		_, _ = fmt.Sscanf(f.release, "%d.%d", &f.kernel[0], &f.kernel[1])
	}
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if f.unreadable = unix.Capget(&head, &data[0]); f.unreadable == nil {
		f.effective = uint64(data[1].Effective)<<32 | uint64(data[0].Effective)
	}
	var lim unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_MEMLOCK, &lim) == nil {
		f.memlock = lim.Cur
	}
	if b, err := os.ReadFile("/proc/self/uid_map"); err == nil {
		f.userNS = strings.Join(strings.Fields(string(b)), " ") != "0 0 4294967295"
	}
	if b, err := os.ReadFile("/proc/thread-self/status"); err == nil {
		f.seccomp = strings.Contains(string(b), "\nSeccomp:\t2\n")
	}
	if b, err := os.ReadFile("/sys/kernel/security/lockdown"); err == nil && !strings.Contains(string(b), "[none]") {
		f.restrictive = strings.TrimSpace(string(b))
	}
	return f
}

func (f facts) has(capability int) bool { return f.effective&(1<<capability) != 0 }

func (f facts) before(v [2]int) bool {
	return f.kernel[0] < v[0] || f.kernel[0] == v[0] && f.kernel[1] < v[1]
}

// missing names the capabilities that steering needs and the thread does not have. CAP_SYS_ADMIN includes the others of
// eBPF, and is what older kernels ask for in the place of CAP_BPF (capabilities(7)).
func (f facts) missing() (names []string) {
	switch {
	case f.has(unix.CAP_SYS_ADMIN):
	case f.before(kernelCapBPF):
		names = append(names, "CAP_SYS_ADMIN")
	default:
		if !f.has(unix.CAP_BPF) {
			names = append(names, "CAP_BPF")
		}
		if !f.has(unix.CAP_NET_ADMIN) {
			names = append(names, "CAP_NET_ADMIN")
		}
	}
	if !f.has(unix.CAP_NET_RAW) {
		names = append(names, "CAP_NET_RAW")
	}
	return names
}

// reason is what most likely stands behind a refusal: the sure things first. The kernel's version counts only after a
// trial has failed, since distributions bring features into older kernels.
func (f facts) reason(err error) string {
	denied := errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES)
	missing := f.missing()
	switch {
	case f.unreadable == nil && len(missing) > 0 && denied:
		return "the process lacks " + strings.Join(missing, ", ") +
			" (systemd: AmbientCapabilities and CapabilityBoundingSet; containers: cap-add)"
	case errors.Is(err, unix.ENOSYS):
		return "the kernel has no bpf system call (CONFIG_BPF_SYSCALL), or a filter of system calls (seccomp) hides it"
	case errors.Is(err, unix.EAFNOSUPPORT):
		return "this machine does not speak that family of addresses (ipv6.disable)"
	case f.before(kernelSteers):
		return fmt.Sprintf("kernel %s cannot steer sockets (sk_lookup): Linux 5.9 or later is needed", f.release)
	case denied && f.before(kernelMemcg) && f.memlock < memlockEnough:
		return fmt.Sprintf("the limit of locked memory is %d bytes (systemd: LimitMEMLOCK=infinity)", f.memlock)
	case denied && f.userNS:
		return "the process runs in a user namespace, whose capabilities do not reach the machine's kernel (rootless container)"
	case denied && f.restrictive != "":
		return "the kernel is locked down (" + f.restrictive + ")"
	case denied && f.seccomp:
		return "a filter of system calls (seccomp) forbids bpf: allow it for this service"
	case denied:
		return "a security module forbids bpf or raw sockets: see the kernel's log"
	}
	return fmt.Sprintf("kernel %s was built without socket steering (CONFIG_BPF_SYSCALL, CONFIG_INET, CONFIG_NET_NS)", f.release)
}
