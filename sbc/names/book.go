package names

import (
	"context"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"sallyport/sbc/config"
	"sallyport/sbc/resolve"
)

// askTime is how long Ask, LookedUp and LookUp wait for names. What has no answer by then comes when it comes.
const askTime = 3 * time.Second

// Options are what a Book works with.
type Options struct {
	// Dir is where the last good answers outlive the program, as answers.json; "": they do not.
	Dir string
	// DNS answers the questions; nil: the name servers of this machine.
	DNS resolve.Exchanger
	// Now is the clock.
	Now func() time.Time
	// Log hears what names lead to, and what is wrong with them, once each.
	Log *zap.Logger
	// Changed hears that Expand would have another result than before. It must not wait.
	Changed func()
}

// Book keeps what the names of the configuration in force lead to. Its methods may be called by many goroutines, Save by one at a
// time.
type Book struct {
	resolver *resolve.Resolver
	watcher  *resolve.Watcher
	file     string // that the last good answers outlive the program in; "": none
	dirty    atomic.Bool
	log      *zap.Logger
	changed  func()

	mu     sync.Mutex
	places map[string]string // where a want of the configuration in force was written
}

// New is a book with the last good answers of the run before. Where these cannot be read, the log says so and it has none.
func New(opt Options) *Book {
	b := &Book{log: opt.Log, changed: opt.Changed, places: map[string]string{}}
	if opt.Dir != "" {
		b.file = filepath.Join(opt.Dir, "answers.json")
	}
	ex := opt.DNS
	if ex == nil {
		ex = &resolve.System{}
	}
	b.resolver = resolve.New(ex, opt.Now)
	b.watcher = resolve.NewWatcher(b.resolver, opt.Now, b.notice)
	if list, err := load(b.file); err != nil {
		b.log.Warn("names: the answers of the run before cannot be read; it goes on without", zap.Error(err))
	} else {
		b.watcher.Restore(list)
	}
	return b
}

// Ask looks up what a configuration names and nobody has looked up yet. It returns when all have been answered, when askTime (three
// seconds) is over, or when ctx ends. It is called before Use, with the configuration that is to come into force.
func (b *Book) Ask(ctx context.Context, snap *config.Snapshot) {
	list := writtenIn(snap)
	if len(list) == 0 {
		return
	}
	b.mu.Lock()
	for i := range list {
		b.places[list[i].want.Key()] = snap.Place(list[i].path)
	}
	b.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	b.watcher.Ask(ctx, wants(list))
}

// Use keeps the names of a configuration fresh from now on, and no others. It never waits.
func (b *Book) Use(snap *config.Snapshot) {
	list := writtenIn(snap)
	b.mu.Lock()
	b.places = map[string]string{}
	for i := range list {
		b.places[list[i].want.Key()] = snap.Place(list[i].path)
	}
	b.mu.Unlock()
	b.watcher.Set(wants(list))
}

// Run asks for each name again when the time of its answer is over, until ctx ends.
func (b *Book) Run(ctx context.Context) { b.watcher.Run(ctx) }

// Expand is a configuration with what its names lead to at the moment (see the function Expand). It never waits.
func (b *Book) Expand(snap *config.Snapshot) *config.Snapshot { return Expand(snap, b.see) }

// see is what a name leads to at the moment.
func (b *Book) see(w resolve.Want) []resolve.Endpoint { return b.watcher.State(w).Endpoints }

// notice hears how a look at a name went.
func (b *Book) notice(w resolve.Want, before, after resolve.State) {
	was, is := leadsTo(before.Endpoints), leadsTo(after.Endpoints)
	b.mu.Lock()
	place := b.places[w.Key()]
	b.mu.Unlock()
	what := place + ": " + w.Host
	switch {
	case slices.Equal(before.Endpoints, after.Endpoints):
	case was != is:
		b.log.Info(what+" leads to "+is, zap.String("node", w.Host))
	default:
		b.log.Info(what+" leads to the same addresses otherwise (order, weights, transports or further ones)", zap.String("node", w.Host))
	}
	if !slices.Equal(before.Endpoints, after.Endpoints) || before.By != after.By {
		b.dirty.Store(true)
		b.changed()
	}
	for _, refused := range after.Refused {
		if after.Err == nil && !slices.Contains(before.Refused, refused) { // else the error tells
			b.log.Warn(what+": of its answer "+refused+" and is not used\n  hint: write the address itself where it is meant", zap.String("node", w.Host))
		}
	}
	b.tellError(what, w.Host, &before, &after)
}

// tellError logs what has become wrong with a name, and that it is right again.
func (b *Book) tellError(what, host string, before, after *resolve.State) {
	was, is := leadsTo(before.Endpoints), leadsTo(after.Endpoints)
	switch said := errorText(after.Err); {
	case said == errorText(before.Err):
	case after.Err == nil:
		if was == is {
			b.log.Info(what+" is answered again", zap.String("node", host))
		}
	case len(after.Endpoints) == 0:
		b.log.Warn(what+": "+said+"; nothing is sent there until it has an answer\n  hint: is the name right? `dig "+host+"` and /etc/resolv.conf tell what this machine asks",
			zap.String("node", host))
	default:
		b.log.Warn(what+": "+said+"; what was known stays in force: "+is, zap.String("node", host))
	}
}
