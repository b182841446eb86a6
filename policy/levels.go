package policy

import "time"

// RuleHit is how often a rule decided since the program started.
type RuleHit struct {
	Rule     RuleInfo `json:"rule"`
	Enforced uint64   `json:"enforced"`
	Shadow   uint64   `json:"shadow"` // messages that it would have refused, had it not been a shadow rule
}

// RuleHits lists the rules in force with their counts, in the order of the file.
func (g *Guard) RuleHits() []RuleHit {
	r := g.rules.Load()
	list := make([]RuleHit, len(r.infos))
	for i, info := range r.infos {
		list[i].Rule = info
		if h := g.state.hitsOf(r, int32(i)); h != nil {
			list[i].Enforced, list[i].Shadow = h.enforced.Load(), h.shadow.Load()
		}
	}
	return list
}

// Level is how full a table is, for `sbc status --limits`.
type Level struct {
	Name string `json:"name"`
	Used int    `json:"used"` // now
	Most int    `json:"most"` // high-water mark; the same as Used where none is kept
	Cap  int    `json:"cap"`
}

// Levels tells how full the tables are. It looks at every bucket, so it is for people, not for packets.
func (g *Guard) Levels(now time.Time) []Level {
	st := g.state
	var list []Level
	add := func(name string, used, most, limit int) {
		list = append(list, Level{name, used, max(used, most), limit})
	}
	for _, known := range []bool{false, true} {
		t := st.limits.table(known)
		most, limit := t.used()
		add("limiter "+whose(known), t.owed(st.age(now)), most, limit)
	}
	add("live dialogs and INVITEs", st.live.Len(), 0, int(st.live.most))
	add("bans", st.bans.Len(), 0, st.bans.most)
	add("bans not forgiven", st.bans.lenPast(), 0, st.bans.most)
	age := st.age(now)
	add("blocked ports", st.conduct.blocks.len(age), 0, len(st.conduct.blocks.sets)*blockWays)
	add("slowed users", st.conduct.slowed.len(), 0, mostSlowed)
	for _, known := range []bool{false, true} {
		used, limit := st.conduct.scores[index(known)].used()
		add("points "+whose(known), used, 0, limit)
	}
	for _, known := range []bool{false, true} {
		used, limit := st.evidence.table(known).used()
		add("evidence "+whose(known), used, 0, limit)
	}
	return list
}

func whose(known bool) string {
	if known {
		return "known peers"
	}
	return "strangers"
}

// used is how many sources of a table have evidence.
func (t *dossierTable) used() (n, limit int) {
	for i := range t.sets {
		s := &t.sets[i]
		s.mu.Lock()
		for j := range s.dossiers {
			if s.dossiers[j].taken {
				n++
			}
		}
		s.mu.Unlock()
	}
	return n, len(t.sets) * evidenceWays
}
