package sbc

import (
	"context"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"sallyport/sbc/config"
	"sallyport/sbc/resolve"
)

const (
	// rebuildEvery is how often at most the world is made anew of what the network says, after the first rebuildBurst times: a
	// registration tells twice within milliseconds where it is seen and who has accepted it, and the next call needs both.
	rebuildEvery = time.Second
	rebuildBurst = 4
	// namesTime is how long a start and a reload wait for names. What has no answer by then comes when it comes.
	namesTime = 3 * time.Second
)

// naming keeps what the names of the configuration lead to.
type naming struct {
	resolver *resolve.Resolver
	watcher  *resolve.Watcher
	file     string // that the last good answers outlive the program in; "": none
	dirty    atomic.Bool
	log      *zap.Logger
	news     func()

	mu     sync.Mutex
	places map[string]string // where a want of the configuration in force was written
}

func newNaming(opt *Options, news func()) *naming {
	n := &naming{log: opt.Log, news: news, places: map[string]string{}}
	if opt.StateDir != "" {
		n.file = filepath.Join(opt.StateDir, "answers.json")
	}
	ex := opt.DNS
	if ex == nil {
		ex = &resolve.System{}
	}
	n.resolver = resolve.New(ex, opt.Now)
	n.watcher = resolve.NewWatcher(n.resolver, opt.Now, n.notice)
	if list, err := loadAnswers(n.file); err != nil {
		n.log.Warn("names: the answers of the run before cannot be read; it goes on without", zap.Error(err))
	} else {
		n.watcher.Restore(list)
	}
	return n
}

// ask looks up what a configuration names and nobody has looked up yet.
func (n *naming) ask(ctx context.Context, snap *config.Snapshot) {
	wants, paths := wantsOf(snap)
	if len(wants) == 0 {
		return
	}
	n.mu.Lock()
	for key, path := range paths {
		n.places[key] = snap.Place(path)
	}
	n.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, namesTime)
	defer cancel()
	n.watcher.Ask(ctx, wants)
}

// use keeps the names of a configuration fresh from now on, and no others.
func (n *naming) use(snap *config.Snapshot) {
	wants, paths := wantsOf(snap)
	n.mu.Lock()
	n.places = map[string]string{}
	for key, path := range paths {
		n.places[key] = snap.Place(path)
	}
	n.mu.Unlock()
	n.watcher.Set(wants)
}

// see is what a name leads to at the moment.
func (n *naming) see(w resolve.Want) []resolve.Endpoint { return n.watcher.State(w).Endpoints }

// notice hears how a look at a name went.
func (n *naming) notice(w resolve.Want, before, after resolve.State) {
	was, is := leadsTo(before.Endpoints), leadsTo(after.Endpoints)
	n.mu.Lock()
	place := n.places[w.Key()]
	n.mu.Unlock()
	what := place + ": " + w.Host
	switch {
	case slices.Equal(before.Endpoints, after.Endpoints):
	case was != is:
		n.log.Info(what+" leads to "+is, zap.String("node", w.Host))
	default:
		n.log.Info(what+" leads to the same addresses otherwise (order, weights, transports or further ones)", zap.String("node", w.Host))
	}
	if !slices.Equal(before.Endpoints, after.Endpoints) || before.By != after.By {
		n.dirty.Store(true)
		n.news()
	}
	for _, refused := range after.Refused {
		if after.Err == nil && !slices.Contains(before.Refused, refused) { // else the error tells
			n.log.Warn(what+": of its answer "+refused+" and is not used\n  hint: write the address itself where it is meant", zap.String("node", w.Host))
		}
	}
	switch said := errorText(after.Err); {
	case said == errorText(before.Err):
	case after.Err == nil:
		if was == is {
			n.log.Info(what+" is answered again", zap.String("node", w.Host))
		}
	case len(after.Endpoints) == 0:
		n.log.Warn(what+": "+said+"; nothing is sent there until it has an answer\n  hint: is the name right? `dig "+w.Host+"` and /etc/resolv.conf tell what this machine asks",
			zap.String("node", w.Host))
	default:
		n.log.Warn(what+": "+said+"; what was known stays in force: "+is, zap.String("node", w.Host))
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// leadsTo is endpoints in a few words.
func leadsTo(list []resolve.Endpoint) string {
	const most = 8
	var words []string
	for i, e := range list {
		if i == most {
			words = append(words, "…")
			break
		}
		words = append(words, addressText(e.Address))
	}
	if len(words) == 0 {
		return "nothing"
	}
	return strings.Join(words, ", ")
}

// addressText leaves out a port that is none.
func addressText(a netip.AddrPort) string {
	if a.Port() == 0 {
		return a.Addr().String()
	}
	return a.String()
}

// expand is a configuration with what the network says of it: its names replaced by the addresses that they lead to at the
// moment; a name that leads nowhere is left out. Whoever makes a world makes it of this; s.snap keeps the configuration as it was
// written. It never waits, and may be called by anybody. The slices Interfaces, Trunks and PBX.Nodes of what it returns are its own.
func (s *SBC) expand(snap *config.Snapshot) *config.Snapshot {
	return s.enrolments.put(expanded(snap, s.naming.see))
}

// rebuild says that something that expand puts in has changed: the world is made anew of the configuration in force, soon and no
// more often than rebuildEvery says. It never waits, and may be called by anybody, in the core's turn too.
func (s *SBC) rebuild() {
	select {
	case s.again <- struct{}{}:
	default: // it is going to happen
	}
}

// rebuilding makes the world anew whenever somebody has asked for it.
func (s *SBC) rebuilding(ctx context.Context) {
	pace := rate.NewLimiter(rate.Every(rebuildEvery), rebuildBurst)
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.again:
		}
		s.remake(ctx)
		s.naming.save()
		if pace.Wait(ctx) != nil {
			return
		}
	}
}

// remake makes the world anew of the configuration in force. Calls, bindings and debt survive, as in a reload.
func (s *SBC) remake(ctx context.Context) {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	w := newWorld(s.expand(s.snap.Load()), s.tags, s.names)
	err := s.core.Do(ctx, func(time.Time) {
		w.tolls = s.assembly.world.tolls
		s.assembly.swap(w, nil)
	})
	if err != nil {
		s.rebuild() // the core was full: in a moment then; or it has ended
		return
	}
	s.prove(newProofs(w.snap, s.read))
	s.guard.SetInterfaces(w.faces())
	s.leaks.now.Store(w.leaks)
}
