package transport

import (
	"container/list"
	"maps"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"sallyport/nat"
	"sallyport/policy"
)

// Level is how much there is of something that is bounded, and the most there has been.
type Level struct{ Now, High, Limit int64 } // Limit 0: none of its own

// StreamGauges are the levels of all connections together.
type StreamGauges struct {
	Open       Level // connections of all kinds
	Strangers  Level
	Kept       Level // a phone is registered on each
	Dialled    Level // our own
	Handshakes Level // strangers' TLS handshakes in flight
	Buffers    Level // bytes of unfinished and unsent messages; the limit holds for strangers' alone
}

func (l *Level) add(n int64) {
	l.Now += n
	l.High = max(l.High, l.Now)
}

// grace is how long a stranger's handshake or silence is safe from newcomers.
const grace = 2 * time.Second

// lastConnection makes the numbers of connections: no two of the process are the same.
var lastConnection atomic.Uint64

// hub knows all connections of a Set. Its lock is taken before a connection's own.
type hub struct {
	limits StreamLimits
	known  func(*nat.Interface, netip.Addr) bool
	tls    atomic.Pointer[TLS]

	mu       sync.Mutex
	conns    map[uint64]*connection
	dialled  map[nat.Flow]*connection // by their flow with Conn 0
	troubles map[nat.Flow]*trouble    // likewise: of those that could not be made
	sources  map[netip.Addr]int       // accepted ones that are not kept
	silent   list.List                // strangers' that have brought nothing yet, oldest first
	shaking  list.List                // strangers' in their TLS handshake, oldest first
	gauges   StreamGauges

	buffers, high, strange atomic.Int64 // bytes: in all, the most there were, strangers'
	lingering              atomic.Int64 // WebSockets that wait for the peer's Close
}

func newHub(c *Config) *hub {
	h := &hub{
		limits: c.Streams, known: c.Known, conns: map[uint64]*connection{}, dialled: map[nat.Flow]*connection{}, troubles: map[nat.Flow]*trouble{},
		sources: map[netip.Addr]int{},
	}
	h.tls.Store(c.TLS)
	return h
}

// welcome takes an accepted connection in, if there is room for it. A stranger finds room also where another one has
// been silent for long: whoever opens connections only to hold them loses the oldest, and who registers gets in.
func (h *hub) welcome(c *connection) bool {
	known := h.known != nil && h.known(&c.face, c.remote.Addr())
	h.mu.Lock()
	defer h.mu.Unlock()
	most := h.limits.PerSource
	if known {
		most = h.limits.PerKnown
	}
	switch {
	case c.closed(), h.sources[policy.SourceKey(c.remote.Addr())] >= most:
		return false
	case !known && h.gauges.Strangers.Now >= int64(h.limits.Strangers) && !h.evict(&h.silent):
		return false
	}
	c.known, c.stranger = known, !known
	if !known {
		c.silent = h.silent.PushBack(c)
		h.gauges.Strangers.add(1)
	}
	h.sources[policy.SourceKey(c.remote.Addr())]++
	c.counted = true
	h.enter(c)
	return true
}

// enter gives a connection its number. Under the lock.
func (h *hub) enter(c *connection) {
	c.id = lastConnection.Add(1)
	h.conns[c.id] = c
	h.gauges.Open.add(1)
}

// evict ends the oldest connection of a list if it is no newcomer. Under the lock.
func (h *hub) evict(l *list.List) bool {
	front := l.Front()
	if front == nil {
		return false
	}
	c := front.Value.(*connection)
	if time.Since(c.born) < grace {
		return false
	}
	h.uncount(c)
	c.end(crowded)
	return true
}

// uncount takes a connection off the strangers and its source. Under the lock.
func (h *hub) uncount(c *connection) {
	h.quiet(c)
	h.rested(c)
	if !c.counted {
		return
	}
	c.counted = false
	key := policy.SourceKey(c.remote.Addr())
	if h.sources[key]--; h.sources[key] <= 0 {
		delete(h.sources, key)
	}
	if !c.known {
		h.gauges.Strangers.add(-1)
	}
}

// quiet takes a connection off the silent ones. Under the lock.
func (h *hub) quiet(c *connection) {
	if c.silent != nil {
		h.silent.Remove(c.silent)
		c.silent = nil
	}
}

// rested takes a connection off the handshakes in flight. Under the lock.
func (h *hub) rested(c *connection) {
	if c.shaking != nil {
		h.shaking.Remove(c.shaking)
		c.shaking = nil
		h.gauges.Handshakes.add(-1)
	}
}

// spoke hears of the first message of a connection that the guard let through.
func (h *hub) spoke(c *connection) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.quiet(c)
}

// shake lets a TLS handshake begin. Strangers' are few at a time; the oldest makes room once it is slow.
func (h *hub) shake(c *connection) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.known {
		return true
	}
	if h.shaking.Len() >= h.limits.Handshakes && !h.evict(&h.shaking) {
		return false
	}
	c.shaking = h.shaking.PushBack(c)
	h.gauges.Handshakes.add(1)
	return true
}

// shaken ends a handshake.
func (h *hub) shaken(c *connection) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.rested(c)
}

// forget drops a connection that is gone.
func (h *hub) forget(c *connection) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.uncount(c)
	if h.conns[c.id] == c {
		delete(h.conns, c.id)
		h.gauges.Open.add(-1)
		if c.dialled {
			h.gauges.Dialled.add(-1)
		}
		c.mu.Lock()
		if c.kept {
			h.gauges.Kept.add(-1)
		}
		c.mu.Unlock()
	}
	if key := c.flow(0); c.dialled && h.dialled[key] == c {
		delete(h.dialled, key)
	}
}

// find returns the connection that a flow names, or nil.
func (h *hub) find(f nat.Flow) *connection {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.named(f)
}

func (h *hub) named(f nat.Flow) *connection {
	c := h.conns[f.Conn]
	if c == nil || c.flow(c.id) != f {
		return nil
	}
	return c
}

// accepted are the connections that others made.
func (h *hub) accepted() []*connection {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]*connection, 0, len(h.conns))
	for _, c := range h.conns {
		if !c.dialled {
			list = append(list, c)
		}
	}
	return list
}

// endAll ends all connections of an interface that is being closed: none enters any more.
func (h *hub) endAll(d *door) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.conns {
		if c.door == d {
			c.end(closing)
		}
	}
	maps.DeleteFunc(h.troubles, func(f nat.Flow, _ *trouble) bool { return f.Interface == d.face.ID })
}

// keep changes whether a connection is kept.
func (h *hub) keep(f nat.Flow, kept bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.named(f)
	if c == nil || !c.setKept(kept) {
		return c != nil
	}
	if kept {
		h.uncount(c)
		h.gauges.Kept.add(1)
		return true
	}
	h.gauges.Kept.add(-1)
	if !c.dialled {
		h.sources[policy.SourceKey(c.remote.Addr())]++
		c.counted = true
		if !c.known {
			h.gauges.Strangers.add(1)
		}
	}
	return true
}

// charge counts bytes of a connection's buffers. It reports false, and counts nothing, where a stranger asks for more
// than strangers may have.
func (h *hub) charge(n int64, stranger bool) bool {
	if stranger {
		if now := h.strange.Add(n); n > 0 && now > int64(h.limits.Buffers) {
			h.strange.Add(-n)
			return false
		}
	}
	now := h.buffers.Add(n)
	for high := h.high.Load(); now > high && !h.high.CompareAndSwap(high, now); high = h.high.Load() {
	}
	return true
}

// levels reads the gauges.
func (h *hub) levels() StreamGauges {
	h.mu.Lock()
	defer h.mu.Unlock()
	g := h.gauges
	g.Strangers.Limit, g.Dialled.Limit = int64(h.limits.Strangers), int64(h.limits.Dialled)
	g.Handshakes.Limit = int64(h.limits.Handshakes)
	g.Buffers = Level{Now: h.buffers.Load(), High: h.high.Load(), Limit: int64(h.limits.Buffers)}
	return g
}
