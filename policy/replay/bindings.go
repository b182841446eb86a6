package replay

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/credentials"
)

// bindingKey is one binding (RFC 3261 §10).
type bindingKey struct{ aor, contact string }

type binding struct {
	door    endpoint       // of the program
	from    netip.AddrPort // where the phone is seen
	expires time.Time
	login   credentials.Login
}

// place is where bindings are looked for: by their flow, by their address at a listener, or by their user there.
type place struct {
	door endpoint
	at   netip.AddrPort // port 0: any
	aor  string         // empty: anybody's
}

// flow is the place of whoever speaks from exactly there.
func flow(door endpoint, from netip.AddrPort) place {
	return place{door, netip.AddrPortFrom(from.Addr().Unmap().WithZone(""), from.Port()), ""}
}

// near is the same at any port, of a user or, where that is empty, of anybody.
func (p place) near(aor string) place {
	return place{p.door, netip.AddrPortFrom(p.at.Addr(), 0), aor}
}

// book is the bindings.
type book struct {
	all     map[bindingKey]binding
	phones  map[netip.Addr]int                     // bindings at an address
	places  map[place]int                          // and at a place
	sources map[netip.Addr]map[bindingKey]struct{} // by policy.SourceKey
	first   func(bindingKey, binding)              // hears of a binding that was not there before; nil: nobody
	ever    map[bindingKey]struct{}                // those that first has heard of
}

func newBook() book {
	return book{
		all: map[bindingKey]binding{}, phones: map[netip.Addr]int{}, places: map[place]int{}, sources: map[netip.Addr]map[bindingKey]struct{}{},
	}
}

// count puts a binding at its places, or takes it from there.
func (b *book) count(key bindingKey, x *binding, n int) {
	at := flow(x.door, x.from)
	add(b.phones, at.at.Addr(), n)
	add(b.places, at, n)
	add(b.places, at.near(""), n)
	add(b.places, at.near(key.aor), n)
	source := policy.SourceKey(at.at.Addr())
	switch {
	case n > 0 && b.sources[source] == nil:
		b.sources[source] = map[bindingKey]struct{}{key: {}}
	case n > 0:
		b.sources[source][key] = struct{}{}
	default:
		if delete(b.sources[source], key); len(b.sources[source]) == 0 {
			delete(b.sources, source)
		}
	}
}

func add[K comparable](m map[K]int, key K, n int) {
	if m[key] += n; m[key] <= 0 {
		delete(m, key)
	}
}

// namesMost is how many bindings of a source are looked through for a name; behind so many any may be.
const namesMost = 1024

// answers reports whether a digest user name may be one of those that phones at a source have.
func (b *book) answers(source netip.Addr, username string) bool {
	at := b.sources[policy.SourceKey(source.Unmap())]
	return len(at) > namesMost || credentials.Answers(func(yield func(string, credentials.Login) bool) {
		for key := range at {
			if !yield(key.aor[:max(strings.LastIndexByte(key.aor, '@'), 0)], b.all[key].login) {
				return
			}
		}
	}, username)
}

// register does what a 2xx to a REGISTER does to the bindings. A registrar answers with all bindings of the user; only
// those count here that the phone asked for, or that would be its own if its REGISTER is not in the capture. The user name of its
// credentials is known to be right where the PBX has seen them.
func (k *knowledge) register(now time.Time, i *nat.Interface, from netip.AddrPort, aor string, q *request, answer *fields, relayed bool) {
	if q.asked.star {
		for key := range k.book.all { // RFC 3261 §10.3 step 6: all there are, wherever
			if key.aor == aor {
				k.unbind(key)
			}
		}
		return
	}
	wanted := q.asked.contacts
	if q.at.IsZero() && len(answer.contacts) == 1 { // a REGISTER without a Contact only asks (RFC 3261 §10.2.3)
		wanted = answer.contacts
	}
	for _, c := range wanted {
		lasts := firstSaid(c.expires, q.asked.expires, expiresElse)
		granted := len(answer.contacts) == 0 && lasts > 0
		for _, g := range answer.contacts {
			if g.uri == c.uri || len(answer.contacts) == 1 && len(wanted) == 1 && lasts > 0 { // some gates spell it anew
				granted, lasts = true, firstSaid(g.expires, answer.expires, lasts)
			}
		}
		key := bindingKey{aor, c.uri}
		if !granted || lasts == 0 {
			k.unbind(key)
			continue
		}
		x := binding{endpoint{i.Bind, i.Transport}, from, now.Add(lasts + k.setup.Grace), k.book.all[key].login}
		if relayed {
			x.login = x.login.Accepted(slices.Values(q.credentials))
		}
		k.bind(key, x)
	}
}

func firstSaid(list ...time.Duration) time.Duration {
	for _, d := range list {
		if d >= 0 {
			return d
		}
	}
	return 0
}

func (k *knowledge) bind(key bindingKey, x binding) {
	old, there := k.book.all[key]
	if !there && len(k.book.all) >= bindingsMost {
		return
	}
	if !there && k.book.first != nil {
		k.book.tellFirst(key, x)
	}
	if moved := there && old.from.Addr() != x.from.Addr(); !there || moved {
		k.guard.AddPhone(x.from.Addr())
		if moved {
			k.guard.RemovePhone(old.from.Addr())
		}
	}
	if there {
		k.book.count(key, &old, -1)
	}
	k.book.count(key, &x, 1)
	k.book.all[key] = x
	k.falls(deadline{at: x.expires, binding: key})
}

// tellFirst tells of a binding once.
func (b *book) tellFirst(key bindingKey, x binding) {
	if b.ever == nil {
		b.ever = map[bindingKey]struct{}{}
	}
	if _, twice := b.ever[key]; twice || len(b.ever) >= bindingsMost {
		return
	}
	b.ever[key] = struct{}{}
	b.first(key, x)
}

func (k *knowledge) unbind(key bindingKey) {
	if x, there := k.book.all[key]; there {
		delete(k.book.all, key)
		k.guard.RemovePhone(x.from.Addr())
		k.book.count(key, &x, -1)
	}
}
