package resolve

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Exchanger answers one DNS question. The answer is judged by who asks: it need not be a good one. An error means that there
// is none. It may be called by many goroutines at a time.
type Exchanger interface {
	Exchange(ctx context.Context, q *dns.Msg) (*dns.Msg, error)
}

// The bounds.
const (
	cacheMost    = 16_384 // names and types: a few questions of each name that is watched
	aliasesMost  = 8      // CNAME records from a name to its address
	questionMost = 64     // of one Lookup
	serversMost  = 32     // SRV records of one name
	addressMost  = 16     // of one host
	endpointMost = 64     // of one Lookup

	ttlLeast    = 5 * time.Second
	ttlMost     = time.Hour
	noRecordTTL = time.Minute      // most that a negative answer is believed: a name that has just been made is wanted soon
	staleTTL    = 30 * time.Second // how soon what could not be asked anew is tried again
)

// NoRecordError says that a name server answers, and that there is nothing.
type NoRecordError struct {
	Name string
	Type string // A, AAAA, SRV, NAPTR
	None bool   // the name does not exist at all
}

func (e *NoRecordError) Error() string {
	if e.None {
		return e.Name + " does not exist"
	}
	return e.Name + " has no " + e.Type + " record"
}

// Resolver looks names up and remembers the records for as long as they say. Its methods may be called by many goroutines.
type Resolver struct {
	ex  Exchanger
	now func() time.Time

	mu    sync.Mutex
	cache map[question]*known
}

type question struct {
	name  string // in lower case, with the dot at the end
	qtype uint16
}

// known is what a name server said last.
type known struct {
	records []dns.RR // of the type that was asked for
	err     *NoRecordError
	until   time.Time
}

// New makes a resolver; now is the time by which answers age.
func New(ex Exchanger, now func() time.Time) *Resolver {
	return &Resolver{ex: ex, now: now, cache: map[question]*known{}}
}

// Known is how many names and types are remembered, and how many can be.
func (r *Resolver) Known() (level, most int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.cache), cacheMost
}

// found is the records of one question.
type found struct {
	records []dns.RR
	ttl     time.Duration
	trouble error // they are older than they should be
}

// records are those of a name and type. A *NoRecordError: there are none; any other error: nobody could say.
func (r *Resolver) records(ctx context.Context, name string, qtype uint16) (found, error) {
	q := question{dns.CanonicalName(name), qtype}
	r.mu.Lock()
	k, now := r.cache[q], r.now()
	r.mu.Unlock()
	if k != nil && now.Before(k.until) {
		return k.found(now)
	}
	fresh, err := r.ask(ctx, q)
	if err != nil {
		// RFC 8767: what was known is better than nothing while nobody can say more.
		if k != nil && k.err == nil {
			return found{k.records, staleTTL, err}, nil
		}
		return found{}, err
	}
	r.keep(q, fresh, now)
	return fresh.found(now)
}

func (k *known) found(now time.Time) (found, error) {
	if k.err != nil {
		return found{ttl: k.until.Sub(now)}, k.err
	}
	return found{records: k.records, ttl: k.until.Sub(now)}, nil
}

// ask asks for one name and type, along its aliases.
func (r *Resolver) ask(ctx context.Context, q question) (*known, error) {
	name, ttl := q.name, ttlMost
	for range aliasesMost {
		m := new(dns.Msg)
		m.SetQuestion(name, q.qtype)
		reply, err := r.ex.Exchange(ctx, m)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", plain(q.name), dns.TypeToString[q.qtype], err)
		}
		said, err := interpret(name, q.qtype, reply)
		if err != nil {
			return nil, err
		}
		ttl = min(ttl, said.ttl)
		switch {
		case len(said.records) > 0:
			return &known{records: said.records, until: r.now().Add(max(ttl, ttlLeast))}, nil
		case said.alias == "":
			none := &NoRecordError{Name: plain(q.name), Type: dns.TypeToString[q.qtype], None: said.none}
			return &known{err: none, until: r.now().Add(min(max(ttl, ttlLeast), noRecordTTL))}, nil
		}
		name = said.alias
	}
	return nil, errAliases(q.name)
}

func errAliases(name string) error {
	return fmt.Errorf("%s: more than %d aliases, or one that leads back", plain(name), aliasesMost)
}

// plain is a name as people write it.
func plain(name string) string {
	if name = strings.TrimSuffix(name, "."); name == "" {
		return "."
	}
	return name
}

// said is what one reply says of a name.
type said struct {
	records []dns.RR
	alias   string // where the name leads to, if the reply does not say on
	none    bool   // the name does not exist
	ttl     time.Duration
}

// interpret reads a reply: the records of a type that belong to a name, through the aliases that the reply holds (RFC 1034
// §3.6.2, §4.3.2). Records of other names are not looked at, nor is the additional section: whoever forges a reply gains no more
// than the answer to this very question.
func interpret(name string, qtype uint16, m *dns.Msg) (said, error) {
	out := said{ttl: ttlMost}
	switch {
	case m == nil || !m.Response:
		return out, errors.New(plain(name) + ": the name server's answer is none")
	case m.Rcode == dns.RcodeNameError:
		out.none = true
	case m.Rcode != dns.RcodeSuccess:
		return out, fmt.Errorf("%s: the name server says %s", plain(name), rcodeText(m.Rcode))
	}
	at := dns.CanonicalName(name)
	for range aliasesMost {
		alias := ""
		for _, rr := range m.Answer {
			h := rr.Header()
			if h.Class != dns.ClassINET || dns.CanonicalName(h.Name) != at {
				continue
			}
			if h.Rrtype == qtype {
				out.records = append(out.records, rr)
				out.ttl = min(out.ttl, seconds(h.Ttl))
			} else if c, ok := rr.(*dns.CNAME); ok && alias == "" {
				alias = dns.CanonicalName(c.Target)
				out.ttl = min(out.ttl, seconds(h.Ttl))
			}
		}
		switch {
		case len(out.records) > 0:
			out.alias, out.none = "", false
			return out, nil
		case alias == "":
			// Nothing is said of the last alias: it is asked for, unless the reply says that there is nothing (RFC 2308 §2).
			if soa := negativeTTL(m); soa >= 0 {
				out.alias, out.ttl = "", min(out.ttl, soa)
			} else if out.none {
				out.alias = ""
			}
			return out, nil
		}
		at, out.alias = alias, alias
	}
	return out, errAliases(name)
}

// negativeTTL is how long nothing is to be believed: the lesser of the SOA record's own time and its last field (RFC 2308 §5).
// Without one it is −1.
func negativeTTL(m *dns.Msg) time.Duration {
	for _, rr := range m.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			return seconds(min(soa.Hdr.Ttl, soa.Minttl))
		}
	}
	return -1
}

// seconds is a TTL. One with the highest bit set counts as 0 (RFC 2181 §8).
func seconds(n uint32) time.Duration {
	if n > 1<<31-1 {
		return 0
	}
	return time.Duration(n) * time.Second
}

func rcodeText(code int) string {
	if s := dns.RcodeToString[code]; s != "" {
		return s
	}
	return fmt.Sprintf("RCODE %d", code)
}

// keep remembers what was said. A full cache gives up a part of it that is over longest.
func (r *Resolver) keep(q question, k *known, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old := r.cache[q]; old != nil && k.err != nil && old.err == nil && now.Before(old.until) {
		return // another lookup has found more meanwhile
	}
	if _, there := r.cache[q]; !there && len(r.cache) >= cacheMost {
		list := slices.SortedFunc(maps.Keys(r.cache), func(a, b question) int { return r.cache[a].until.Compare(r.cache[b].until) })
		for _, o := range list[:cacheMost/16] {
			delete(r.cache, o)
		}
	}
	r.cache[q] = k
}
