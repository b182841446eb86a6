package resolve

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Want is a name that somebody wants to know about.
type Want struct {
	Target
	// Role tells apart who wants it: the same name may lead elsewhere for another, whose Refuse is another.
	Role string
	// Refuse says why an address is not acceptable, as one clause; "": it is. It must not block. nil: all are.
	Refuse func(netip.AddrPort) string
}

// Key names the want in a state file, and tells it from all others.
func (w *Want) Key() string { return w.Role + " " + w.Target.String() }

// State is how a name stands.
type State struct {
	Endpoints []Endpoint // the last good answer, without what is refused; nobody changes it
	By        Source     // how it was found
	At        time.Time  // when a name server last said so; zero: never
	Err       error      // of the last look; nil: it went well
	Refused   []string   // addresses of the last answer that are not acceptable, each with its reason
	Next      time.Time  // when it is asked again; zero: as soon as possible
}

// Kept is a last good answer, to outlive the program.
type Kept struct {
	At        time.Time
	Endpoints []Endpoint
	By        Source
}

// Watcher keeps names fresh. Its methods may be called by many goroutines.
type Watcher struct {
	r      *Resolver
	now    func() time.Time
	notice func(w Want, before, after State)
	wake   chan struct{}

	mu    sync.Mutex
	names map[string]*watched
	kept  map[string]Kept
}

type watched struct {
	want    Want
	state   State
	failed  int       // in a row
	busy    bool      // somebody asks for it
	lowered time.Time // since when records of a higher source are missing; zero: they are not
}

// How often and how long is asked.
const (
	lookTime    = 10 * time.Second  // for one name
	looksMost   = 16                // names at a time
	failingMost = looksMost * 3 / 4 // of them such as had no answer the last time: a dead zone keeps nobody else waiting
	retryFirst  = 5 * time.Second
	retryMost   = time.Minute // whoever repairs a name server waits no longer for us
	watchedMost = 4096
)

// NewWatcher makes a watcher. notice hears how a name stood before and after each look; it is called by one goroutine at a time
// of each caller of Ask, and of Run, and must not block for long.
func NewWatcher(r *Resolver, now func() time.Time, notice func(w Want, before, after State)) *Watcher {
	return &Watcher{r: r, now: now, notice: notice, wake: make(chan struct{}, 1), names: map[string]*watched{}, kept: map[string]Kept{}}
}

// Restore hands over last good answers of before, by the key of their wants. It is called before anything else.
func (w *Watcher) Restore(list map[string]Kept) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, k := range list {
		k.Endpoints = slices.DeleteFunc(k.Endpoints, func(e Endpoint) bool { return !e.Address.IsValid() || !isHost(e.Host) })
		if len(w.kept) < watchedMost && len(k.Endpoints) > 0 && len(k.Endpoints) <= endpointMost {
			w.kept[key] = k
		}
	}
}

// Kept is the last good answers, to be handed to Restore the next time.
func (w *Watcher) Kept() map[string]Kept {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[string]Kept{}
	for key, n := range w.names {
		if len(n.state.Endpoints) > 0 {
			out[key] = Kept{n.state.At, n.state.Endpoints, n.state.By}
		}
	}
	return out
}

// Ask looks up, until the context ends, those of the wants that nobody has looked up yet. Names that are not Set later are
// forgotten at the next Set.
func (w *Watcher) Ask(ctx context.Context, wants []Want) {
	var fresh []*watched
	w.mu.Lock()
	for i := range wants {
		if n := w.names[wants[i].Key()]; n == nil {
			if n = w.add(wants[i]); n != nil {
				n.busy = true
				fresh = append(fresh, n)
			}
		}
	}
	w.mu.Unlock()
	w.look(ctx, fresh)
}

// Set says which names are kept fresh from now on. What is known of others is forgotten; what is acceptable is judged anew.
func (w *Watcher) Set(wants []Want) {
	w.mu.Lock()
	stay := make(map[string]bool, len(wants))
	for i := range wants {
		key := wants[i].Key()
		stay[key] = true
		n := w.names[key]
		if n == nil {
			w.add(wants[i])
			continue
		}
		n.want = wants[i]
		good, refused := n.want.judge(n.state.Endpoints)
		if n.state.Endpoints = good; len(refused) > 0 || len(n.state.Refused) > 0 {
			n.state.Next = time.Time{} // what is acceptable may have changed
		}
	}
	for key := range w.names {
		if !stay[key] {
			delete(w.names, key)
		}
	}
	w.kept = map[string]Kept{} // whoever was wanted has had it
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// errUnasked is the state of a name before its first look is over.
var errUnasked = errors.New("no name server has answered yet")

// add begins to watch a name; nil: there are too many. The caller holds mu.
func (w *Watcher) add(want Want) *watched {
	if len(w.names) >= watchedMost {
		return nil
	}
	n := &watched{want: want, state: State{Err: errUnasked}}
	if k, ok := w.kept[want.Key()]; ok {
		n.state.Endpoints, _ = want.judge(k.Endpoints)
		n.state.At, n.state.By = k.At, k.By
	}
	w.names[want.Key()] = n
	return n
}

// State is how a name stands. One that nobody watches leads nowhere.
func (w *Watcher) State(want Want) State {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := w.names[want.Key()]; n != nil {
		return n.state
	}
	return State{Err: errUnasked}
}

// Levels is how many names are watched, and how many can be.
func (w *Watcher) Levels() (level, most int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.names), watchedMost
}

// Run asks for each name again when the time of its answer is over, until the context ends.
func (w *Watcher) Run(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	var telling sync.Mutex
	room := looks{all: looksMost, failing: failingMost}
	done := make(chan bool, looksMost) // whether it was a failing one
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-w.wake:
		case failing := <-done:
			room.give(failing)
		}
		due, wait := w.due()
		for _, n := range due {
			failing := n.failing
			if !room.take(failing) {
				continue
			}
			w.begin(n.watched)
			all.Go(func() {
				w.lookAt(ctx, n.watched, &telling)
				done <- failing
			})
		}
		t.Reset(wait)
	}
}

// looks is how many names more may be asked for at a time.
type looks struct{ all, failing int }

func (l *looks) take(failing bool) bool {
	if l.all == 0 || failing && l.failing == 0 {
		return false // the next that ends makes room
	}
	if l.all--; failing {
		l.failing--
	}
	return true
}

func (l *looks) give(failing bool) {
	if l.all++; failing {
		l.failing++
	}
}

// waiting is a name whose time has come.
type waiting struct {
	*watched
	next    time.Time
	failing bool
}

// due are the names whose time has come, the longest first, and how long it is until the next one's.
func (w *Watcher) due() (due []waiting, wait time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	wait = ttlMost
	for _, n := range w.names {
		switch left := n.state.Next.Sub(now); {
		case n.busy:
		case left <= 0:
			due = append(due, waiting{n, n.state.Next, n.failed > 0})
		default:
			wait = min(wait, left)
		}
	}
	slices.SortFunc(due, func(a, b waiting) int { return a.next.Compare(b.next) })
	return due, wait
}

// begin notes that a name is being asked for.
func (w *Watcher) begin(n *watched) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n.busy = true
}

// look asks for names, some at a time, and waits for all.
func (w *Watcher) look(ctx context.Context, list []*watched) {
	var all sync.WaitGroup
	slots := make(chan struct{}, looksMost)
	var telling sync.Mutex
	for _, n := range list {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			w.lookAt(ctx, n, &telling)
		})
	}
	all.Wait()
}

func (w *Watcher) lookAt(ctx context.Context, n *watched, telling *sync.Mutex) {
	one, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	w.mu.Lock()
	target, before := n.want.Target, w.memory(n)
	w.mu.Unlock()
	answer, err := w.r.lookup(one, target, before)
	want, was, is := w.take(n, answer, err)
	telling.Lock()
	defer telling.Unlock()
	w.notice(want, was, is)
}

// memory is what a look at a name begins with. The caller holds mu.
func (w *Watcher) memory(n *watched) memory {
	return memory{
		endpoints: n.state.Endpoints, by: n.state.By, refuse: n.want.Refuse,
		lower: !n.lowered.IsZero() && w.now().Sub(n.lowered) >= lowerAfter,
	}
}

// take takes what came of a look. The last good answer stays until there is a better one.
func (w *Watcher) take(n *watched, a Answer, err error) (want Want, before, after State) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	n.busy = false
	before, s := n.state, &n.state
	good, refused := n.want.judge(a.Endpoints) // by what is acceptable now
	s.Refused = append(a.Refused, refused...)
	switch {
	case a.lowered && n.lowered.IsZero():
		n.lowered = now
	case !a.lowered && err == nil && a.Trouble == nil:
		n.lowered = time.Time{}
	}
	switch {
	case err != nil:
		s.Err = err
	case len(good) == 0:
		s.Err = fmt.Errorf("every address of the answer is refused: %s", s.Refused[0])
	default:
		if s.Err, s.Next, n.failed = a.Trouble, now.Add(a.TTL), 0; a.Trouble == nil || s.At.IsZero() {
			s.At = now // else some of it is as old as it was
		}
		if !slices.Equal(s.Endpoints, good) {
			s.Endpoints = good
		}
		s.By = a.By
		return n.want, before, *s
	}
	wait := min(retryFirst<<min(n.failed, 10), retryMost)
	if _, none := errors.AsType[*NoRecordError](err); none {
		wait = max(wait, min(a.TTL, retryMost)) // it has been said for so long
	}
	s.Next = now.Add(wait)
	n.failed++
	return n.want, before, *s
}

// judge leaves out what is refused.
func (w *Want) judge(list []Endpoint) (good []Endpoint, refused []string) {
	if w.Refuse == nil {
		return list, nil
	}
	for _, e := range list {
		if why := w.Refuse(e.Address); why != "" {
			refused = append(refused, e.Address.Addr().String()+" "+why)
		} else {
			good = append(good, e)
		}
	}
	return good, refused
}
