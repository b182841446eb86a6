package sbc

import (
	"os"
	"runtime"
	"syscall"
	"time"
)

// processors decides how many threads of the program run Go code at a time. With more than there is work for, each datagram
// wakes threads that find nothing to do: signalling of a few hundred messages a second costs a tenth less with one. What
// one cannot do, such as a flood or many TLS handshakes, gets all that the machine has within a second.
type processors struct {
	all   bool
	since time.Time     // of the last look; zero: there was none
	spent time.Duration // processor time of the process until then
	calm  time.Duration // for how long all of them have been more than needed
}

// How much of one processor is used where one is too few, and where it would do; and how long the latter must last, so that
// a burst now and then does not change the number each time, for which the program has to stop for some microseconds.
const (
	tooBusy   = 0.6
	calmBelow = 0.3
	calmFor   = time.Minute
)

// look takes the processor time of the process so far, and reports whether it shall have another number of processors
// from now on: all or one.
func (p *processors) look(now time.Time, spent time.Duration) (changed bool) {
	wall, used := now.Sub(p.since), spent-p.spent
	first := p.since.IsZero()
	p.since, p.spent = now, spent
	if first || wall <= 0 {
		return false
	}
	load := float64(used) / float64(wall)
	switch {
	case load >= calmBelow:
		p.calm = 0
	case p.all:
		p.calm += wall
	}
	if p.all && p.calm < calmFor || !p.all && load < tooBusy {
		return false
	}
	p.all, p.calm = !p.all, 0
	return true
}

// apply sets the number.
func (p *processors) apply() {
	if p.all {
		runtime.SetDefaultGOMAXPROCS()
		return
	}
	runtime.GOMAXPROCS(1)
}

// newProcessors begins with one processor. It is nil where the number is not the program's to choose: where the
// environment names it, and where media is relayed by this process, whose workers need theirs.
func (s *SBC) newProcessors() *processors {
	r, ours := s.opt.Relay.(*relay)
	if !ours || !r.apart() || os.Getenv("GOMAXPROCS") != "" || runtime.NumCPU() == 1 {
		return nil
	}
	p := &processors{}
	p.apply()
	return p
}

// watch looks once a second.
func (p *processors) watch(now time.Time) {
	if p == nil {
		return
	}
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return // it cannot fail for the process itself (getrusage(2))
	}
	if p.look(now, time.Duration(u.Utime.Nano()+u.Stime.Nano())) {
		p.apply()
	}
}
