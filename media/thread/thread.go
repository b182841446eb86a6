//go:build linux

// Package thread is what the locked threads of the relay's back ends have in common: how one waits, what it does between
// batches for signalling and by the clock, what becomes of it when the engine fails, and how all of a back end begin, are
// told and end.
//
// No datagram passes through here. What system calls point into, receiving, asking the engine and sending are a worker's
// own, which embeds a Thread by value: what is read for each datagram lies where the rest of the worker lies. What is
// called through Work is called once a batch.
package thread

import (
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"sallyport/media"
	"sallyport/media/queue"
)

// Work is what a worker does on its thread. Each round waits, then hears what signalling wants, then relays: a packet
// that came after a Point was posted meets the leg that was pointed.
type Work interface {
	// Resume is called before the first round, and before the next one after the engine has failed in the middle of a batch.
	Resume()
	// Wait returns when there may be something to relay, a command has rung, or the engine has something to do of itself:
	// by Look, Await and Sleep.
	Wait()
	// Applied hears of commands that have been carried out. Nothing of the list is kept.
	Applied(list []media.Command)
	// Carry relays what Wait found. now is one reading of the engine's clock for the whole batch.
	Carry(now int64)
	// Send takes a packet that the engine made itself, and reports whether it could be sent; Data is valid until it returns.
	Send(v media.Verdict) bool
}

// Thread is the part of a worker's state that is the same in each back end. Crew.Enlist sets it up.
type Thread struct {
	// Number is the worker's, as the engine counts them.
	Number int
	// Engine is shared: each leg has one worker.
	Engine *media.Engine
	// Patient says that packets may be gathered while there are few.
	Patient bool

	raw    bool // waits keep the scheduler's processor
	pollFD int  // -1: none
	wakeFD int  // likewise
	base   time.Time
	work   Work
	play   func(media.Verdict) bool // its Send
	hinted func()                   // never nil
	queue  queue.Queue

	// System calls point here.
	rest  unix.Timespec
	rings [8]byte
}

const (
	// wakeIndex is the place of the eventfd in an event: no worker watches anything by it.
	wakeIndex  = -1
	timerSlack = 1000 // ns
)

// open makes what a thread waits on. What there is of it is given back by shut, also where it fails.
func (t *Thread) open() (err error) {
	t.pollFD, t.wakeFD = -1, -1
	if t.pollFD, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("epoll instance: %w", err)
	}
	if t.wakeFD, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return fmt.Errorf("event descriptor: %w", err)
	}
	return t.Watch(t.wakeFD, wakeIndex, 0)
}

// shut closes both descriptors. The thread has ended, or never began.
func (t *Thread) shut() {
	for _, fd := range []*int{&t.pollFD, &t.wakeFD} {
		if *fd >= 0 {
			_ = unix.Close(*fd)
		}
		*fd = -1
	}
}

// Watch adds a socket to those that the thread waits for (level-triggered). index, not negative, and as come back in its
// events, as Fd and Pad. A socket that is closed is watched no more.
func (t *Thread) Watch(fd int, index, as int32) error {
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: index, Pad: as}
	if err := unix.EpollCtl(t.pollFD, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		return fmt.Errorf("watching a socket: %w", err)
	}
	return nil
}

// run is the thread: it ends when the queue is stopped.
func (t *Thread) run() {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	if t.Patient {
		// Else the kernel may let a sleep last 50 µs longer. Where it refuses, sleeps are as they are.
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, timerSlack, 0, 0, 0)
	}
	for !t.serve() {
	}
}

// serve works until it is stopped, or until the engine fails on a datagram: all other calls go on without that one.
func (t *Thread) serve() (stopped bool) {
	defer func() {
		if recover() != nil {
			t.Engine.Failed()
		}
	}()
	t.work.Resume()
	for {
		t.work.Wait()
		now := int64(time.Since(t.base))
		if t.queue.Waiting.Load() && t.commands(now) {
			return true
		}
		t.work.Carry(now)
		if now >= t.Engine.Due(t.Number) {
			t.Engine.Play(now, t.Number, t.play)
		}
		if t.Engine.News(t.Number) {
			t.hinted()
		}
	}
}

// commands carries out what signalling wants.
func (t *Thread) commands(now int64) (stopped bool) {
	list, settled, stopped := t.queue.Take()
	if settled != nil {
		defer close(settled)
	}
	t.Engine.ApplyAll(now, list)
	t.work.Applied(list)
	for _, a := range t.queue.Agreements() {
		t.Engine.Agree(now, &a)
	}
	return stopped
}
