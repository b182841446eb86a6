package sbc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/gaissmai/bart"
	"go.uber.org/zap"

	"sallyport/policy"
	"sallyport/policy/geo"
	"sallyport/sbc/api"
	"sallyport/sbc/config"
	"sallyport/sbc/feed"
)

// sources keep what the rules work with besides their text: answers to names, feeds, the country database. They ask
// anew in the background; what fails leaves in force what was there.
type sources struct {
	resolve func(ctx context.Context, name string) ([]netip.Addr, error)
	fetcher *feed.Fetcher
	now     func() time.Time
	log     *zap.Logger
	news    func()        // compiles the rules anew
	wake    chan struct{} // a reload has changed what there is to ask for

	mu    sync.Mutex
	want  wanted
	data  policy.Data // its values are never changed, only replaced
	state map[string]*sourceState
	file  os.FileInfo // of the country database in force
}

// wanted is what a configuration asks for.
type wanted struct {
	names    []string
	feeds    []feed.Source
	database string
}

// sourceState is how one of them stands.
type sourceState struct {
	due     time.Time
	fetched time.Time
	entries int
	failed  int    // in a row
	err     string // of the last try, "": it went well
}

// How often and how long is asked.
const (
	namesEvery    = time.Minute
	databaseEvery = 10 * time.Minute // its file is looked at
	retryFirst    = 30 * time.Second
	retryMost     = time.Hour
	resolveTime   = 3 * time.Second // at start and reload, and each time of all names together
	databaseMost  = 512 << 20       // bytes
	databaseOld   = 60 * 24 * time.Hour
)

// newSources makes sources that keep copies of feeds in dir, or none.
func newSources(opt *Options, news func()) *sources {
	s := &sources{
		resolve: opt.Resolve, now: opt.Now, log: opt.Log, news: news, wake: make(chan struct{}, 1), state: map[string]*sourceState{},
	}
	if s.resolve == nil {
		s.resolve = lookUp
	}
	if s.log == nil { // of a trial of rules
		s.log = zap.NewNop()
	}
	dir := ""
	if opt.StateDir != "" {
		dir = filepath.Join(opt.StateDir, "feeds")
	}
	s.fetcher = feed.New(dir, nil, opt.Now)
	return s
}

func lookUp(ctx context.Context, name string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
}

// wantedOf reads what a configuration asks for.
func wantedOf(snap *config.Snapshot) wanted {
	w := wanted{names: policy.NamesOf(snap.Policy.Guard()), database: snap.Policy.Countries.Database}
	for i := range snap.Policy.Feeds {
		f := &snap.Policy.Feeds[i]
		w.feeds = append(w.feeds, feed.Source{Name: f.Name, URL: f.URL, File: f.File, Every: f.Every, Most: f.MaxEntries})
	}
	return w
}

// prepared is what a configuration's rules will work with, before they are in force.
type prepared struct {
	want  wanted
	data  policy.Data
	state map[string]*sourceState
	file  os.FileInfo
}

// prepare gathers what is there for a configuration: the database, last good copies, first answers. Only a database that
// cannot be read is an error: without it the rules would mean something else.
func (s *sources) prepare(ctx context.Context, snap *config.Snapshot) (*prepared, error) {
	s.mu.Lock()
	was := prepared{want: s.want, data: s.data, state: s.state, file: s.file}
	s.mu.Unlock()
	p := &prepared{want: wantedOf(snap), state: map[string]*sourceState{}}
	if err := p.readDatabase(&was, s.now()); err != nil {
		return nil, errors.New(snap.Place("policy.countries.database") + ": " + err.Error())
	}
	for _, f := range p.want.feeds {
		p.takeFeed(s, &was, f)
	}
	p.data.Names = map[string][]netip.Addr{}
	var fresh []string
	for _, name := range p.want.names {
		if known, ok := was.data.Names[name]; ok {
			p.data.Names[name], p.state[name] = known, was.state[name]
		} else {
			fresh = append(fresh, name)
			p.state[name] = &sourceState{}
		}
	}
	for name, a := range s.ask(ctx, fresh) {
		p.answer(name, a, s.now())
	}
	return p, nil
}

// readDatabase reads the country database unless the file is the one in force.
func (p *prepared) readDatabase(was *prepared, now time.Time) error {
	path := p.want.database
	if path == "" {
		return nil
	}
	p.state[path] = &sourceState{due: now.Add(databaseEvery)}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if was.file != nil && was.want.database == path && info.ModTime().Equal(was.file.ModTime()) && info.Size() == was.file.Size() {
		p.data.Countries, p.file = was.data.Countries, was.file
	} else if p.data.Countries, err = OpenCountries(path); err != nil {
		return err
	}
	p.file = info
	st := p.state[path]
	st.entries, st.fetched = p.data.Countries.Len(), builtOf(p.data.Countries, info)
	return nil
}

// builtOf is when a database was made; where it does not say, when its file was written.
func builtOf(d *geo.Database, file os.FileInfo) time.Time {
	if at := d.Built(); !at.IsZero() {
		return at
	}
	return file.ModTime()
}

// CountriesWarning says that a database is old; "": it is not, or nobody can tell.
func CountriesWarning(path string, d *geo.Database, now time.Time) string {
	built := d.Built()
	if built.IsZero() || now.Sub(built) < databaseOld {
		return ""
	}
	return fmt.Sprintf("%s is %d days old: addresses move between countries, fetch a new one", path, int(now.Sub(built).Hours()/24))
}

// OpenCountries reads a country database from a file.
func OpenCountries(path string) (*geo.Database, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > databaseMost {
		return nil, fmt.Errorf("%s is larger than %d MiB: it is no country database", path, databaseMost>>20)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return geo.Read(f, path)
}

// takeFeed takes over what is in force of a feed, else its last good copy.
func (p *prepared) takeFeed(s *sources, was *prepared, f feed.Source) {
	if set := was.data.Feeds[f.Name]; set != nil && slices.Contains(was.want.feeds, f) {
		p.setFeed(f.Name, was.state[f.Name], set)
		return
	}
	st := &sourceState{}
	p.state[f.Name] = st
	if f.File != "" { // of this machine: read before anything is judged by it
		list, _, err := s.fetcher.Fetch(context.Background(), f)
		st.due = s.now().Add(f.Every)
		if err != nil {
			st.due, st.err = s.now().Add(min(retryFirst, f.Every)), err.Error()
			s.tell("feed "+f.Name, false, st, "")
			return
		}
		st.entries, st.fetched = list.Entries, list.Fetched
		p.setFeed(f.Name, st, list.Set)
		return
	}
	if list, ok := s.fetcher.Saved(f); ok {
		st.entries, st.fetched = list.Entries, list.Fetched
		p.setFeed(f.Name, st, list.Set)
	}
}

func (p *prepared) setFeed(name string, st *sourceState, set *bart.Lite) {
	if p.data.Feeds == nil {
		p.data.Feeds = map[string]*bart.Lite{}
	}
	p.data.Feeds[name], p.state[name] = set, st
}

// answer takes a name's answer. An empty one never empties a list: the last good one stays.
func (p *prepared) answer(name string, a answered, now time.Time) (changed bool) {
	st := p.state[name]
	if st == nil {
		return false
	}
	st.due = now.Add(namesEvery)
	if a.err != nil {
		st.err = a.err.Error()
		st.failed++
		return false
	}
	st.err, st.failed, st.fetched, st.entries = "", 0, now, len(a.addrs)
	if slices.Equal(p.data.Names[name], a.addrs) {
		return false
	}
	p.data.Names[name] = a.addrs
	return true
}

// use puts in force what prepare has gathered. A feed that has come meanwhile stays: its server says "not modified" from now on
// and would never send it again. Whoever fetched it compiles the rules anew.
func (s *sources) use(p *prepared) {
	s.mu.Lock()
	for _, f := range p.want.feeds {
		if set := s.data.Feeds[f.Name]; set != nil && slices.Contains(s.want.feeds, f) {
			p.setFeed(f.Name, s.state[f.Name], set)
		}
	}
	s.want, s.data, s.state, s.file = p.want, p.data, p.state, p.file
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// current is what the rules in force work with.
func (s *sources) current() policy.Data {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.data
}

// list is how each source stands, for `sbc status`.
func (s *sources) list() []api.DataSource {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []api.DataSource
	add := func(kind, name string) {
		st := s.state[name]
		out = append(out, api.DataSource{Kind: kind, Name: name, Entries: st.entries, Fetched: st.fetched, Error: st.err})
	}
	if s.want.database != "" {
		add("countries", s.want.database)
	}
	for _, f := range s.want.feeds {
		add("feed", f.Name)
	}
	for _, name := range s.want.names {
		add("name", name)
	}
	return out
}
