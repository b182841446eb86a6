//go:build linux

package steer

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"sallyport/media"
	"sallyport/media/rig"
)

// all are the capabilities of root.
const all = 1<<41 - 1

func without(capabilities ...int) uint64 {
	set := uint64(all)
	for _, c := range capabilities {
		set &^= 1 << c
	}
	return set
}

func TestReasons(t *testing.T) {
	now := facts{kernel: [2]int{6, 1}, release: "6.1.0", effective: all, memlock: 8 << 20}
	old := facts{kernel: [2]int{5, 4}, release: "5.4.0", effective: all, memlock: 64 << 10}
	young := facts{kernel: [2]int{5, 10}, release: "5.10.0", effective: all, memlock: 64 << 10}
	with := func(f facts, change func(*facts)) facts {
		change(&f)
		return f
	}
	none := func(f *facts) { f.effective = 0 }
	for _, c := range []struct {
		name  string
		facts facts
		err   error
		want  []string
	}{
		{"nothing at all", with(now, none), unix.EPERM, []string{"CAP_BPF, CAP_NET_ADMIN, CAP_NET_RAW", "AmbientCapabilities", "cap-add"}},
		{"nothing at all before CAP_BPF", with(old, none), unix.EPERM, []string{"lacks CAP_SYS_ADMIN, CAP_NET_RAW"}},
		{"no CAP_BPF", with(now, func(f *facts) { f.effective = without(unix.CAP_BPF, unix.CAP_SYS_ADMIN) }), unix.EPERM, []string{"lacks CAP_BPF (systemd"}},
		{"CAP_SYS_ADMIN instead", with(now, func(f *facts) { f.effective = without(unix.CAP_BPF, unix.CAP_NET_ADMIN, unix.CAP_NET_RAW) }), unix.EACCES, []string{"lacks CAP_NET_RAW (systemd"}},
		{"no CAP_NET_ADMIN", with(now, func(f *facts) { f.effective = without(unix.CAP_NET_ADMIN, unix.CAP_SYS_ADMIN) }), unix.EPERM, []string{"lacks CAP_NET_ADMIN (systemd"}},
		{"old kernel", old, unix.EINVAL, []string{"5.4.0", "5.9"}},
		{"old kernel, as the library says it", old, fmt.Errorf("load: %w", ebpf.ErrNotSupported), []string{"5.4.0", "5.9"}},
		{"locked memory", young, unix.EPERM, []string{"LimitMEMLOCK", "65536 bytes"}},
		{"locked memory is enough", with(young, func(f *facts) { f.memlock = 1 << 40 }), unix.EPERM, []string{"security module"}},
		{"rootless container", with(now, func(f *facts) { f.userNS = true }), unix.EPERM, []string{"user namespace"}},
		{"lockdown", with(now, func(f *facts) { f.restrictive = "none [integrity]" }), unix.EPERM, []string{"locked down", "[integrity]"}},
		{"seccomp", with(now, func(f *facts) { f.seccomp = true }), unix.EPERM, []string{"seccomp"}},
		{"capabilities unreadable", with(now, func(f *facts) { f.effective, f.unreadable = 0, unix.EPERM }), unix.EPERM, []string{"security module"}},
		{"no IPv6", now, unix.EAFNOSUPPORT, []string{"family", "ipv6.disable"}},
		{"no bpf", now, unix.ENOSYS, []string{"CONFIG_BPF_SYSCALL"}},
		{"not built in", now, unix.EINVAL, []string{"6.1.0", "CONFIG_"}},
	} {
		got := c.facts.reason(fmt.Errorf("media/steer: something: %w", c.err))
		for _, want := range c.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: %q does not say %q", c.name, got, want)
			}
		}
	}
}

func TestExplainKeepsOtherErrors(t *testing.T) {
	if explain(nil) != nil {
		t.Error("an error out of nothing")
	}
	if err := explain(unix.EADDRNOTAVAIL); !errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, ErrUnavailable) {
		t.Errorf("%v", err)
	}
	if Reason(nil) != "" || Reason(unix.EADDRNOTAVAIL) != unix.EADDRNOTAVAIL.Error() {
		t.Error("reasons of other errors")
	}
	one := onlyIPv4(explain(fmt.Errorf("trial: %w", unix.EAFNOSUPPORT)))
	if got := Reason(one); !errors.Is(one, ErrUnavailable) || !errors.Is(one, unix.EAFNOSUPPORT) || !strings.HasPrefix(got, "IPv4 could be steered, IPv6 could not: ") {
		t.Errorf("of one family: %q", got)
	}
	if err := onlyIPv4(unix.EADDRINUSE); !errors.Is(err, unix.EADDRINUSE) || errors.Is(err, ErrUnavailable) {
		t.Errorf("%v", err)
	}
	err := explain(fmt.Errorf("trial: %w", unix.EPERM))
	if got := Reason(fmt.Errorf("outer: %w", err)); got == "" || strings.Contains(got, "trial") {
		t.Errorf("reason %q", got)
	}
	if !errors.Is(err, ErrUnavailable) || !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "epoll") {
		t.Errorf("%v", err)
	}
}

// Really without a capability, Probe and Open name it, and nothing else.
func TestWithoutACapability(t *testing.T) {
	need(t)
	for name, drop := range map[string][]int{
		"CAP_BPF": {unix.CAP_BPF, unix.CAP_SYS_ADMIN}, "CAP_NET_ADMIN": {unix.CAP_NET_ADMIN, unix.CAP_SYS_ADMIN}, "CAP_NET_RAW": {unix.CAP_NET_RAW},
	} {
		var probed, opened error
		var thread sync.WaitGroup
		thread.Go(func() {
			runtime.LockOSThread() // never unlocked: the thread ends with what it lost
			if err := dropCapabilities(drop); err != nil {
				t.Error(err)
				return
			}
			probed = Probe()
			_, opened = media.New(rig.Config(23900, rig.Own(5)), New(Options{}), 1)
		})
		thread.Wait()
		for what, err := range map[string]error{"Probe": probed, "Open": opened} {
			if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "lacks "+name+" (") {
				t.Errorf("%s without %s: %v", what, name, err)
			}
		}
	}
	if err := Probe(); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// The three capabilities that the documentation names are enough.
func TestWithNothingElse(t *testing.T) {
	need(t)
	var rest []int
	for c := range 41 {
		if c != unix.CAP_BPF && c != unix.CAP_NET_ADMIN && c != unix.CAP_NET_RAW {
			rest = append(rest, c)
		}
	}
	var thread sync.WaitGroup
	thread.Go(func() {
		runtime.LockOSThread() // never unlocked: the thread ends with what it lost
		if err := dropCapabilities(rest); err != nil {
			t.Error(err)
			return
		}
		if err := Probe(); err != nil {
			t.Errorf("Probe: %v", err)
		}
		p, err := media.New(rig.Config(23950, rig.Own(5)), New(Options{}), 1)
		if err != nil {
			t.Errorf("Open: %v", err)
			return
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	thread.Wait()
}

// dropCapabilities takes capabilities from the calling thread.
func dropCapabilities(list []int) error {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&head, &data[0]); err != nil {
		return err
	}
	for _, c := range list {
		data[c/32].Effective &^= 1 << (c % 32)
		data[c/32].Permitted &^= 1 << (c % 32)
	}
	return unix.Capset(&head, &data[0])
}

// A probe leaves no program and no descriptor.
func TestProbeLeavesNothing(t *testing.T) {
	if !alone(t) {
		return
	}
	for range 50 {
		if err := Probe(); err != nil {
			t.Fatal(err)
		}
	}
	rig.Eventually(t, "a program is left", func() bool {
		ids, err := attached()
		return err == nil && len(ids) == 0
	})
}
