package transport

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// StreamLimits bounds what connections may take. The zero value of each is its default. A stranger's connection is one
// that a peer made whom the guard does not know, until Keep says that a phone is registered on it.
type StreamLimits struct {
	Strangers int // strangers' connections in all; 4,096
	PerSource int // of them, of one source (an IPv6 /64); 32
	PerKnown  int // of one source that the guard knows, those kept not counted; 1,024
	Dialled   int // connections of our own; 1,024
	Buffers   int // bytes of strangers' messages, unfinished or unsent, in all; 64 MiB

	Handshakes int           // TLS handshakes of strangers in flight; 64
	Handshake  time.Duration // for a TLS handshake, and for a connection to be made; 10 s
	First      time.Duration // a stranger's first message that the guard lets through; 30 s
	Message    time.Duration // a message, from its first byte to its last; 15 s
	Idle       time.Duration // a stranger without a message that the guard lets through; 120 s
	KnownIdle  time.Duration // a known peer, or a connection of our own, without a byte; 1 h
	Slow       time.Duration // a peer that takes no byte of what is to be sent; 8 s
	Inbox      time.Duration // a message that finds the inbox full; 5 s

	Queue         int // bytes to be sent on a connection, at most; 64 KiB
	QueueMessages int // messages to be sent on it; 64
	// Busy ones (a known peer's, our own) carry the messages of thousands.
	BusyQueue         int // 1 MiB
	BusyQueueMessages int // 4,096
}

// filled puts the defaults in.
func (l StreamLimits) filled() StreamLimits {
	return StreamLimits{
		Strangers: cmp.Or(l.Strangers, 4096), PerSource: cmp.Or(l.PerSource, 32), PerKnown: cmp.Or(l.PerKnown, 1024),
		Dialled: cmp.Or(l.Dialled, 1024), Buffers: cmp.Or(l.Buffers, 64<<20),
		Handshakes: cmp.Or(l.Handshakes, 64), Handshake: cmp.Or(l.Handshake, 10*time.Second),
		First: cmp.Or(l.First, 30*time.Second), Message: cmp.Or(l.Message, 15*time.Second),
		Idle: cmp.Or(l.Idle, 120*time.Second), KnownIdle: cmp.Or(l.KnownIdle, time.Hour),
		Slow: cmp.Or(l.Slow, 8*time.Second), Inbox: cmp.Or(l.Inbox, 5*time.Second),
		Queue: cmp.Or(l.Queue, 64<<10), QueueMessages: cmp.Or(l.QueueMessages, 64),
		BusyQueue: cmp.Or(l.BusyQueue, 1<<20), BusyQueueMessages: cmp.Or(l.BusyQueueMessages, 4096),
	}
}

// Validate names every limit that cannot work.
func (l *StreamLimits) Validate() error {
	var errs []error
	for _, n := range [...]struct {
		name  string
		value int
	}{
		{"strangers", l.Strangers}, {"per source", l.PerSource}, {"per known source", l.PerKnown}, {"dialled", l.Dialled},
		{"buffers", l.Buffers}, {"handshakes", l.Handshakes}, {"queue", l.Queue}, {"messages of a queue", l.QueueMessages},
		{"busy queue", l.BusyQueue}, {"messages of a busy queue", l.BusyQueueMessages},
	} {
		if n.value < 0 {
			errs = append(errs, fmt.Errorf("transport: streams, %s: %d: give a number above 0, or 0 for the default", n.name, n.value))
		}
	}
	for _, d := range [...]struct {
		name  string
		value time.Duration
	}{
		{"handshake", l.Handshake}, {"first message", l.First}, {"message", l.Message}, {"idle", l.Idle},
		{"idle of known peers", l.KnownIdle}, {"slow reader", l.Slow}, {"inbox", l.Inbox},
	} {
		if d.value < 0 {
			errs = append(errs, fmt.Errorf("transport: streams, %s: %v: give a time above 0, or 0 for the default", d.name, d.value))
		}
	}
	return errors.Join(errs...)
}
