package call

import (
	"maps"
	"slices"

	"sallyport/sbc/tu"
)

// placed keeps the places of the call as the core does, and holds the call to them: at rest each of its legs has one, and nothing
// else has.
func (s *stage) placed(ev tu.Event, do []tu.Action) {
	s.t.Helper()
	if s.places == nil {
		s.places = map[tu.Ref]bool{0: true}
	}
	loops := func(h tu.Hop) bool { return s.c.set.Loop != nil && h.Flow.Interface == s.c.set.Loop.Flow.Interface }
	for _, a := range do {
		switch a := a.(type) {
		case tu.Send:
			if a.Msg.Method == "INVITE" && a.Msg.To.Tag == "" && !loops(a.Hop) {
				s.places[a.Ref] = true
			}
		case tu.Occupy:
			if s.places[a.Ref] {
				s.errorf("place %d is taken twice", a.Ref)
			}
			if !loops(a.Hop) {
				s.places[a.Ref] = true
			}
		case tu.Vacate:
			delete(s.places, a.Ref)
		case tu.Record:
			clear(s.places)
		}
	}
	switch ev := ev.(type) {
	case tu.Answered:
		if ev.Msg.Status >= 300 && ev.Msg.Method == "INVITE" {
			delete(s.places, ev.Ref)
		}
	case tu.Failed:
		delete(s.places, ev.Ref)
	}
	if s.lawless || len(s.c.waiting) > 0 || s.c.phase == unborn {
		return
	}
	want := map[tu.Ref]bool{}
	for ref := range s.c.Places {
		want[ref] = true
	}
	if !maps.Equal(want, s.places) {
		s.errorf("after %T the call has places %v, and holds %v", ev, slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(s.places)))
	}
}
