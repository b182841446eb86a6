package call

import (
	"slices"

	"sallyport/media/cname"
	"sallyport/media/sdp"
	"sallyport/sbc/tu"
)

// Each leg keeps its own payload type numbers for the whole call: what the other side offers or answers is put into the
// numbers that the leg knows for the same codecs (RFC 3264 §6.1), new codecs get numbers that it has never seen, for "the
// mapping from a particular dynamic payload type number to a particular codec … MUST NOT change for the duration of a
// session" (RFC 3264 §8.3.2). The relay maps between the two. Where both sides have the same numbers, as they have when
// the answerer keeps to the offer, nothing is touched.

// formats are what a description says of one stream's payload types.
type formats struct {
	said   []sdp.Format // by the leg that wrote it
	told   []sdp.Format // as the other leg was told
	voice  bool         // audio whose sources may take turns
	dead   bool         // the m= line is declined
	sealed bool         // its packets cannot be changed: the peers have the keys
}

// book are the numbers that one leg has seen in one stream.
type book []binding

type binding struct {
	sdp.Format
	own   bool // the leg has used it itself
	round int  // the description that had it last: they are counted by each book
}

// learn takes numbers down that a leg has said, or been told.
func (b *book) learn(list []sdp.Format, own bool) {
	round := 1
	for _, x := range *b {
		round = max(round, x.round+1)
	}
	for _, f := range list {
		i := slices.IndexFunc(*b, func(x binding) bool { return x.Number == f.Number })
		switch {
		case i < 0:
			*b = append(*b, binding{f, own, round})
		case own: // a peer that gives a number another meaning knows what it does
			(*b)[i] = binding{f, true, round}
		case !(*b)[i].own:
			(*b)[i].round = round
		}
	}
}

// has reports whether a number means something.
func (b book) has(number uint8) bool {
	return slices.ContainsFunc(b, func(x binding) bool { return x.Number == number })
}

// find is the number that the leg knows for a format, of those that are not taken: one that it has used itself, in its
// latest description that had the codec, else the latest that it was told; of several the same number.
func (b book) find(f sdp.Format, taken *tu.Payloads) (number uint8, ok bool) {
	best := -1
	for i, x := range b {
		if x.Codec != f.Codec || taken.Has(x.Number) {
			continue
		}
		if best >= 0 {
			y := b[best]
			switch {
			case x.own != y.own && y.own, x.own == y.own && x.round < y.round:
				continue
			case x.own == y.own && x.round == y.round && x.Number != f.Number:
				continue
			}
		}
		best = i
	}
	if best >= 0 {
		return b[best].Number, true
	}
	for _, x := range b {
		// The same number with other parameters, as an answer may have them.
		if x.Number == f.Number && x.Base() == f.Base() && !taken.Has(x.Number) {
			return x.Number, true
		}
	}
	return 0, false
}

// translate puts formats into the leg's numbers. free finds a number that it has never seen.
func (b book) translate(list []sdp.Format, free func(taken *tu.Payloads) (uint8, bool)) []sdp.Format {
	out := slices.Clone(list)
	known := make([]bool, len(list))
	var taken tu.Payloads
	for i, f := range list {
		if n, ok := b.find(f, &taken); ok {
			out[i].Number, known[i] = n, true
			taken.Add(n)
		}
	}
	for i, f := range list {
		n := f.Number
		if known[i] {
			continue
		}
		if b.has(n) || taken.Has(n) {
			var ok bool
			if n, ok = free(&taken); !ok {
				return list // all 128 have a meaning: none of them can be kept
			}
		}
		out[i].Number = n
		taken.Add(n)
	}
	return out
}

// renumber reads the payload types of stream i of a description and puts those into it that the other leg knows.
func (c *Call) renumber(from, i int, s *sdp.Session, line *sdp.Media) (f formats) {
	if !line.IsRTP() {
		return f
	}
	f.said, f.sealed = s.Formats(i), keyedThere(s, i)
	f.told, f.voice = f.said, line.Type == "audio" && oneVoice(f.said)
	near, far := c.legs[from].media.book(i), c.legs[1-from].media.book(i)
	near.learn(f.said, true)
	if f.sealed {
		far.learn(f.told, false)
		return f
	}
	f.told = far.translate(f.said, func(taken *tu.Payloads) (uint8, bool) {
		// A number of this very description, for another thing on the other leg, helps nobody who reads a trace.
		return c.legs[1-from].media.free(union(*taken, numbersOf(f.said)))
	})
	if !slices.Equal(f.said, f.told) {
		var to [128]uint8
		for n := range to {
			to[n] = uint8(n)
		}
		for k, x := range f.said {
			to[x.Number] = f.told[k].Number
		}
		s.Renumber(i, &to)
	}
	if f.voice {
		s.DropSources(i)
	}
	s.NameSources(i, c.alias)
	far.learn(f.told, false)
	return f
}

// alias is the name that a participant has on the other leg. In RTCP the relay gives it the same.
func (c *Call) alias(name string) string {
	key := cname.Key(c.cnames)
	text, n := key.Alias([]byte(name))
	return string(text[:n])
}

// oneVoice reports whether all SSRCs of a stream are sources that take turns: none repeats or repairs another one's packets
// (RFC 4588, 8627).
func oneVoice(list []sdp.Format) bool {
	return !slices.ContainsFunc(list, func(f sdp.Format) bool {
		return f.Is("rtx") || f.Is("flexfec") || f.Is("flexfec-03") || f.Is("parityfec") || f.Is("1d-interleaved-parityfec")
	})
}

// book are the leg's numbers in stream i.
func (s *mediaState) book(i int) *book {
	for len(s.books) <= i {
		s.books = append(s.books, nil)
	}
	return &s.books[i]
}

// free is a dynamic number that the leg has not seen in any stream: streams may share a transport (RFC 9143 §9).
func (s *mediaState) free(taken tu.Payloads) (uint8, bool) {
	for _, r := range [...][2]uint8{{96, 127}, {35, 63}} { // RFC 3551 §3, and what RFC 5761 §4 leaves of the unassigned ones
		for n := r[0]; n <= r[1]; n++ {
			if !taken.Has(n) && !slices.ContainsFunc(s.books, func(b book) bool { return b.has(n) }) {
				return n, true
			}
		}
	}
	return 0, false
}

// unlearn forgets what a leg has said: it was somebody else, another fork or hop.
func (s *mediaState) unlearn() {
	for i := range s.books {
		s.books[i] = slices.DeleteFunc(s.books[i], func(x binding) bool { return x.own })
	}
}

// number gives both legs of stream i their payload types, once both descriptions are in force.
func (c *Call) number(i int, x, y *tu.Aim) {
	at := func(l int) (f formats) {
		if list := c.legs[l].media.formats; i < len(list) {
			f = list[i]
		}
		return f
	}
	a, b := at(caller), at(callee)
	if a.said == nil || b.said == nil {
		both := union(x.Payloads, y.Payloads)
		x.Payloads, y.Payloads = both, both
		return
	}
	x.Payloads, y.Payloads = numbersOf(a.said, b.told), numbersOf(b.said, a.told)
	if a.sealed && b.sealed {
		return
	}
	x.Numbers, y.Numbers = mapped(a.said, b.told, b.said, a.told), mapped(b.said, a.told, a.said, b.told)
	x.Continuous = a.voice && b.voice
	y.Continuous = x.Continuous
}

func numbersOf(lists ...[]sdp.Format) (p tu.Payloads) {
	for _, list := range lists {
		for _, f := range list {
			p.Add(f.Number)
		}
	}
	return p
}

// mapped is what the relay does with the payload types of a leg's peer: it "MUST send with the payload type numbers" that
// it was told (RFC 3264 §5.1), but some send with those that they said, which is understood where it cannot mean anything
// else: what the peer itself did not name it does not send. The far peer gets the numbers that it has said, or else been
// told; what would mean something else to it is not relayed.
func mapped(said, told, farSaid, farTold []sdp.Format) (m tu.Numbering) {
	agreed := slices.DeleteFunc(slices.Clone(told), func(f sdp.Format) bool {
		_, ok := meaning(f, said)
		return !ok
	})
	var done tu.Payloads
	for _, list := range [...][]sdp.Format{agreed, said, told} {
		for _, f := range list {
			if done.Has(f.Number) {
				continue
			}
			done.Add(f.Number)
			n, ok := meaning(f, farSaid)
			if !ok {
				if n, ok = meaning(f, farTold); !ok {
					n = f.Number
				}
				if other := numbersOf(farSaid); other.Has(n) {
					m.Discard(f.Number)
					continue
				}
			}
			m.Set(f.Number, n)
			if f.Is("red") {
				m.Redundant(f.Number)
			}
		}
	}
	if m.Plain() {
		return tu.Numbering{}
	}
	return m
}

// meaning is the number that a format has in a list: that of the same codec, or its own with the same codec in another
// form.
func meaning(f sdp.Format, list []sdp.Format) (uint8, bool) {
	same, like := -1, -1
	for i, x := range list {
		if x.Codec == f.Codec && (same < 0 || x.Number == f.Number) {
			same = i
		}
		if x.Number == f.Number && x.Base() == f.Base() {
			like = i
		}
	}
	switch {
	case same >= 0:
		return list[same].Number, true
	case like >= 0:
		return list[like].Number, true
	}
	return 0, false
}
