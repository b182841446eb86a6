package names

import (
	"net/netip"
	"slices"
	"strings"

	"sallyport/nat"
	"sallyport/sbc/config"
	"sallyport/sbc/resolve"
)

// Standing is how a name of a configuration stands.
type Standing struct {
	// Path is the key where it is written, "trunks[0].peers[1].address"; of a name that stands in several places the first one.
	Path  string
	Want  resolve.Want
	State resolve.State
}

// Written is the name as the file has it: with a port where one is written.
func (s *Standing) Written() string {
	return config.Name{Host: s.Want.Host, Port: s.Want.Port}.String()
}

// Leads are the addresses that it leads to, in a few words; "": it leads nowhere.
func (s *Standing) Leads() string {
	if len(s.State.Endpoints) == 0 {
		return ""
	}
	return leadsTo(s.State.Endpoints)
}

// Trouble is what is wrong with it, in one line; "": nothing. What was known stays in force.
func (s *Standing) Trouble() string {
	if s.State.Err == nil && len(s.State.Refused) > 0 {
		return "not used: " + strings.Join(s.State.Refused, ", ")
	}
	return errorText(s.State.Err)
}

// All is how each name of a configuration stands, in the order in which they are replaced: our own, those of the PBX, those of the
// trunks.
func (b *Book) All(snap *config.Snapshot) []Standing { return standings(writtenIn(snap), b.watcher) }

func standings(list []written, w *resolve.Watcher) (out []Standing) {
	for i := range list {
		out = append(out, Standing{list[i].path, list[i].want, w.State(list[i].want)})
	}
	return out
}

// Trunk is how the names among a trunk's peers stand, one for each entry. An endpoint that the configuration does not let be used is
// among the refused ones, also where it has not been asked for since.
func (b *Book) Trunk(snap *config.Snapshot, name string) (out []Standing) {
	var x *expander // of most trunks nobody asks: they have addresses
	for i := range snap.Trunks {
		t := &snap.Trunks[i]
		for j := range t.Peers {
			p := &t.Peers[j]
			if t.Name != name || p.Name.IsZero() {
				continue
			}
			if x == nil {
				x = b.expander(snap)
			}
			out = append(out, b.standing(peerPath(i, p), x.want(nat.Outside, trunkRealm, p.Name, p.Transport)))
		}
	}
	return out
}

// Nodes is how the names among the PBX nodes of a realm stand, as Trunk does.
func (b *Book) Nodes(snap *config.Snapshot, realm nat.Realm) (out []Standing) {
	var x *expander
	for i := range snap.PBX.Nodes {
		n := &snap.PBX.Nodes[i]
		if n.Name.IsZero() || !n.Realms[realm] {
			continue
		}
		if x == nil {
			x = b.expander(snap)
		}
		out = append(out, b.standing(nodePath(n), x.want(nat.Inside, n.Realms, n.Name, n.Transport)))
	}
	return out
}

// expander knows what is our own in a configuration.
func (b *Book) expander(snap *config.Snapshot) *expander {
	x := newExpander(snap, b.see)
	x.ours()
	return x
}

// standing is how a name stands, with the answers that are not used among the refused.
func (b *Book) standing(path string, w resolve.Want) Standing {
	s := b.watcher.State(w)
	s.Refused = slices.Clip(s.Refused)
	s.Endpoints = slices.DeleteFunc(slices.Clone(s.Endpoints), func(e resolve.Endpoint) bool {
		why := w.Refuse(e.Address)
		if why != "" {
			s.Refused = append(s.Refused, addressText(e.Address)+" "+why)
		}
		return why != ""
	})
	return Standing{path, w, s}
}

// Level is how full a capped table is.
type Level struct {
	Table       string // "DNS records", "names"
	Level, Most int    // entries
}

// Levels are the tables of a book.
func (b *Book) Levels() []Level {
	records, recordsMost := b.resolver.Known()
	watched, watchedMost := b.watcher.Levels()
	return []Level{{"DNS records", records, recordsMost}, {"names", watched, watchedMost}}
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
