package sbc

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"sallyport/sbc/api"
	"sallyport/sbc/store"
	"sallyport/sbc/trunk"
	"sallyport/sbc/tu"
)

// drains are the trunks and nodes that the administrator has taken out. They stay out over a reload and a restart, until they are
// taken back in. They belong to whoever has the core's turn.
type drains struct {
	list map[string]drained // by kind and name: "trunk itsp", "node 10.0.0.10:5060"
	kept *journal           // nil: nothing outlives the program
}

// drained says who has taken something out, and when.
type drained struct {
	By    string    `json:"by,omitempty"` // "uid 0"
	Since time.Time `json:"since"`
}

// OpenDrains opens what a directory keeps of what is drained.
func OpenDrains(dir string) (State, error) {
	s, err := store.Open(filepath.Join(dir, "drains.db"), "nothing is drained then")
	if err != nil {
		return nil, err
	}
	return s, nil
}

func drainKey(kind tu.Kind, name string) string { return kind.String() + " " + name }

// restoreDrains takes out what was out before the start, before the first call.
func (s *SBC) restoreDrains() error {
	d := &s.assembly.drains
	d.list = map[string]drained{}
	if s.opt.Drains == nil {
		return nil
	}
	gone := map[string][]byte{}
	err := s.opt.Drains.Load(func(key string, value []byte) {
		var x drained
		kind, name, ok := strings.Cut(key, " ")
		if !ok || json.Unmarshal(value, &x) != nil || kind != tu.KindTrunk.String() && kind != tu.KindNode.String() {
			gone[key] = nil
			return
		}
		d.list[key] = x
		k := tu.KindTrunk
		if kind == tu.KindNode.String() {
			k = tu.KindNode
		}
		s.assembly.book.Drain(k, name, true)
		s.log.Warn(key + " is drained since " + x.Since.Format(time.DateTime) + ": it takes no new calls")
	})
	if err != nil {
		return fmt.Errorf("drained trunks and nodes: %w", err)
	}
	d.kept = newJournal(s.opt.Drains, gone, 1024, func(err error) {
		if err != nil {
			s.log.Error("what is drained cannot be kept: after a restart it takes calls again", zap.Error(err))
		} else {
			s.log.Info("what is drained is kept again")
		}
	})
	return nil
}

// drain takes a trunk or a node out, or back in. It runs in the core's turn.
func (a *assembly) drain(now time.Time, kind tu.Kind, name string, on bool, by string) {
	key := drainKey(kind, name)
	if _, is := a.drains.list[key]; is == on {
		return
	}
	var value []byte
	what := " takes calls again"
	if on {
		x := drained{By: by, Since: now}
		a.drains.list[key] = x
		value, _ = json.Marshal(x) // a plain value: it cannot fail
		what = " is drained: it takes no new calls, those in progress go on"
	} else {
		delete(a.drains.list, key)
	}
	a.book.Drain(kind, name, on)
	if a.drains.kept != nil {
		a.drains.kept.put(key, value, true)
	}
	a.sbc.log.Info(key+what, zap.String("by", by))
}

// drainedTrunk reports whether the provider that sends something has been taken out.
func (a *assembly) drainedTrunk(p *tu.Peer) bool {
	return p.Kind == tu.KindTrunk && a.book.IsDrained(tu.KindTrunk, p.Name)
}

// DrainTrunk takes a trunk out, or back in.
func (c control) DrainTrunk(ctx context.Context, name string, on bool, by string) (api.Trunk, error) {
	known := false
	if err := c.core.Do(ctx, func(now time.Time) {
		for s := range c.assembly.book.Systems {
			known = known || s.Kind == tu.KindTrunk && s.Name == name
		}
		// One that the configuration no longer has can be taken in again, so that it does not come back drained.
		if known = known || !on && c.assembly.book.IsDrained(tu.KindTrunk, name); known {
			c.assembly.drain(now, tu.KindTrunk, name, on, by)
		}
	}); err != nil {
		return api.Trunk{}, err
	}
	if !known {
		return api.Trunk{}, api.NotFound("`sbc trunks` lists them", "no trunk %q", name)
	}
	list, err := c.Trunks(ctx)
	for _, t := range list {
		if t.Name == name {
			return t, err
		}
	}
	return api.Trunk{Name: name, State: trunk.Unknown.String()}, err
}

// DrainNode takes a node of the PBX out, or back in.
func (c control) DrainNode(ctx context.Context, name string, on bool, by string) (api.Node, error) {
	var at string
	var candidates []string
	if err := c.core.Do(ctx, func(now time.Time) {
		candidates = c.nodesNamed(name, on)
		if len(candidates) == 1 {
			at = candidates[0]
			c.assembly.drain(now, tu.KindNode, at, on, by)
		}
	}); err != nil {
		return api.Node{}, err
	}
	switch len(candidates) {
	case 0:
		return api.Node{}, api.NotFound("`sbc pbx` lists them", "no node %q", name)
	case 1:
	default:
		return api.Node{}, api.BadRequest("name one of them: "+strings.Join(candidates, ", "), "several nodes are at %s", name)
	}
	list, err := c.Nodes(ctx)
	for _, n := range list {
		if n.Address == at {
			return n, err
		}
	}
	return api.Node{Peer: api.Peer{Address: at, State: trunk.Unknown.String()}}, err
}

// nodesNamed are the nodes that an administrator may mean: by address and port, or by the address alone.
func (c control) nodesNamed(name string, on bool) (out []string) {
	bare, _ := netip.ParseAddr(strings.Trim(name, "[]"))
	for s := range c.assembly.book.Systems {
		for i := range s.Hops {
			at := s.Hops[i].Flow.Remote
			if s.Kind == tu.KindNode && (at.String() == name || at.Addr() == bare) && !slices.Contains(out, at.String()) {
				out = append(out, at.String())
			}
		}
	}
	if len(out) == 0 && !on && c.assembly.book.IsDrained(tu.KindNode, name) {
		out = append(out, name) // the configuration no longer has it
	}
	return out
}
