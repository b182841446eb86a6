package sbc

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gaissmai/bart"
	"go.uber.org/zap"

	"sallyport/sbc/feed"
)

// answered is what became of a question for a name.
type answered struct {
	addrs []netip.Addr
	err   error
}

// ask asks for names, at most 16 at a time, within resolveTime.
func (s *sources) ask(ctx context.Context, names []string) map[string]answered {
	if len(names) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTime)
	defer cancel()
	out := make(map[string]answered, len(names))
	var mu sync.Mutex
	var all sync.WaitGroup
	slots := make(chan struct{}, 16)
	for _, name := range names {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			addrs, err := s.resolve(ctx, name)
			a := answered{err: err}
			for _, x := range addrs {
				a.addrs = append(a.addrs, x.Unmap().WithZone(""))
			}
			slices.SortFunc(a.addrs, netip.Addr.Compare)
			a.addrs = slices.Compact(a.addrs)
			if err == nil && len(a.addrs) == 0 {
				a.err = errors.New("no address")
			}
			mu.Lock()
			defer mu.Unlock()
			out[name] = a
		})
	}
	all.Wait()
	return out
}

// run asks for what is due until the context ends. Names have a goroutine of their own: a slow feed delays none.
func (s *sources) run(ctx context.Context) {
	var both sync.WaitGroup
	both.Go(func() { s.every(ctx, time.Second*10, s.askNames) })
	s.repeat(ctx)
	both.Wait()
}

// repeat looks after feeds and the database: whenever one is due, and when a reload says so.
func (s *sources) repeat(ctx context.Context) {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-s.wake:
		}
		s.fetchDue(ctx)
		t.Reset(s.untilDue())
	}
}

func (s *sources) every(ctx context.Context, d time.Duration, f func(context.Context)) {
	t := time.NewTicker(d)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			f(ctx)
		}
	}
}

// untilDue is how long nothing is to be asked for.
func (s *sources) untilDue() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	wait := time.Hour
	for _, f := range s.want.feeds {
		wait = min(wait, s.state[f.Name].due.Sub(s.now()))
	}
	if s.want.database != "" {
		wait = min(wait, s.state[s.want.database].due.Sub(s.now()))
	}
	return max(wait, time.Second)
}

// askNames asks for the names that are due and compiles anew if an answer changed.
func (s *sources) askNames(ctx context.Context) {
	now := s.now()
	s.mu.Lock()
	var due []string
	for _, name := range s.want.names {
		if st := s.state[name]; !now.Before(st.due) {
			due = append(due, name)
		}
	}
	s.mu.Unlock()
	answers := s.ask(ctx, due)
	changed := false
	s.mu.Lock()
	p := prepared{data: s.data, state: s.state}
	p.data.Names = maps.Clone(s.data.Names)
	for _, name := range slices.Sorted(maps.Keys(answers)) {
		st := s.state[name]
		before := st != nil && st.err != ""
		changed = p.answer(name, answers[name], now) || changed
		s.tell("name "+name, before, st, "")
	}
	s.data.Names = p.data.Names
	s.mu.Unlock()
	if changed {
		s.news()
	}
}

// tell says once that a source fails, and once that it works again.
func (s *sources) tell(what string, failedBefore bool, st *sourceState, news string) {
	switch {
	case st == nil:
	case st.err != "" && !failedBefore:
		s.log.Warn("policy: "+what+": "+st.err+"; what was known stays in force", zap.Int("entries", st.entries))
	case st.err == "" && (failedBefore || news != ""):
		s.log.Info("policy: "+what+strings.TrimRight(": "+news, ": "), zap.Int("entries", st.entries))
	}
}

// fetchDue fetches the feeds that are due, one after the other, and looks at the database's file.
func (s *sources) fetchDue(ctx context.Context) {
	now := s.now()
	s.mu.Lock()
	var due []feed.Source
	for _, f := range s.want.feeds {
		if !now.Before(s.state[f.Name].due) {
			due = append(due, f)
		}
	}
	database := s.want.database
	lookAt := database != "" && !now.Before(s.state[database].due)
	s.mu.Unlock()
	changed := lookAt && s.rereadDatabase(database)
	for _, f := range due {
		if ctx.Err() != nil {
			return
		}
		list, isNew, err := s.fetcher.Fetch(ctx, f)
		changed = s.fetched(f, list, isNew, err) || changed
	}
	if changed {
		s.news()
	}
}

// fetched takes what came of one fetch.
func (s *sources) fetched(f feed.Source, list feed.List, isNew bool, err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, now := s.state[f.Name], s.now()
	if st == nil || !slices.Contains(s.want.feeds, f) {
		return false // a reload has taken it away meanwhile
	}
	before, news := st.err != "", ""
	st.err = ""
	if err != nil {
		st.err = err.Error()
	}
	if err != nil && !isNew {
		st.due = now.Add(min(retryFirst<<min(st.failed, 10), retryMost, f.Every))
		st.failed++
	} else {
		st.due, st.failed = now.Add(f.Every), 0
	}
	if isNew {
		news = "read"
		st.entries, st.fetched = list.Entries, list.Fetched
		feeds := maps.Clone(s.data.Feeds)
		if feeds == nil {
			feeds = map[string]*bart.Lite{}
		}
		feeds[f.Name] = list.Set
		s.data.Feeds = feeds
	}
	s.tell("feed "+f.Name, before, st, news)
	return isNew
}

// rereadDatabase reads the database anew where its file has changed.
func (s *sources) rereadDatabase(path string) bool {
	s.mu.Lock()
	was := prepared{want: s.want, data: s.data, file: s.file}
	s.mu.Unlock()
	p := prepared{want: wanted{database: path}, state: map[string]*sourceState{}}
	err := p.readDatabase(&was, s.now())
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.state[path]
	if st == nil {
		return false
	}
	before := st.err != ""
	st.err, st.due = "", s.now().Add(databaseEvery)
	if err != nil {
		st.err = err.Error()
		s.tell("countries "+path, before, st, "")
		return false
	}
	if p.data.Countries == s.data.Countries {
		return false
	}
	st.entries, st.fetched = p.data.Countries.Len(), builtOf(p.data.Countries, p.file)
	s.data.Countries, s.file = p.data.Countries, p.file
	s.tell("countries "+path, before, st, "read anew")
	return true
}
