package policy

import (
	"slices"
	"sync"
	"sync/atomic"
)

// banNews tells others of changes, outside all locks, in their order, one at a time.
type banNews struct {
	made    atomic.Pointer[[]func(Ban)]
	changed atomic.Pointer[func(ban Ban, removed bool)]

	mu      sync.Mutex
	waiting []banChange
	busy    bool
}

// change is what happened to a ban.
type change uint8

const (
	made change = iota
	kept        // it holds no longer, and counts towards the next
	gone        // removed, or forgotten
)

type banChange struct {
	ban  Ban
	what change
}

// Changes calls f with every ban that is made or changes, to be kept under Ban.Key, and with every one that is removed
// or forgotten. A ban that has ended goes on to be kept while it makes the next one longer. f is called outside locks,
// one call at a time and in order, by whoever made a change; it must not block for long.
func (b *Bans) Changes(f func(ban Ban, removed bool)) { b.news.changed.Store(&f) }

// onMade adds one who hears of every ban that is made.
func (b *Bans) onMade(f func(Ban)) {
	b.news.mu.Lock()
	defer b.news.mu.Unlock()
	var list []func(Ban)
	if old := b.news.made.Load(); old != nil {
		list = slices.Clone(*old)
	}
	list = append(list, f)
	b.news.made.Store(&list)
}

func (n *banNews) add(ban Ban, what change) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.waiting = append(n.waiting, banChange{ban.named(), what})
}

// deliver tells all that waits. If another goroutine is at it, that one tells the rest.
func (n *banNews) deliver() {
	n.mu.Lock()
	idle := !n.busy && len(n.waiting) > 0
	n.busy = n.busy || idle
	n.mu.Unlock()
	if !idle {
		return
	}
	done := false
	defer func() {
		if !done { // one who was told panicked; the next change goes on
			n.mu.Lock()
			n.busy = false
			n.mu.Unlock()
		}
	}()
	for {
		next, ok := n.next()
		if !ok {
			done = true
			return
		}
		n.tell(next)
	}
}

// next takes what has waited longest. Where nothing waits, the delivery is over.
func (n *banNews) next() (c banChange, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.waiting) == 0 {
		n.busy, n.waiting = false, nil
		return banChange{}, false
	}
	c, n.waiting = n.waiting[0], n.waiting[1:]
	return c, true
}

func (n *banNews) tell(c banChange) {
	if changed := n.changed.Load(); changed != nil {
		(*changed)(c.ban, c.what == gone)
	}
	if list := n.made.Load(); list != nil && c.what == made {
		for _, f := range *list {
			f(c.ban)
		}
	}
}
