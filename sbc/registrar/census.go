package registrar

import "maps"

// Census is how the bindings stand. It is kept as they change: with many thousands of them, nobody may look through all in the
// core's turn each time that somebody asks.
type Census struct {
	Lost  int            // their connection is gone
	Held  int            // kept beyond what the phone was told, see Hold
	Nodes map[string]int // by the hop that accepted them last
}

type census struct {
	lost, held int
	nodes      map[string]int
}

// Census counts the bindings.
func (b *Book) Census() Census {
	return Census{Lost: b.census.lost, Held: b.census.held, Nodes: maps.Clone(b.census.nodes)}
}

func (c *census) add(x *Binding) {
	c.nodes[x.Node]++
	if x.Lost {
		c.lost++
	}
}

func (c *census) drop(x *Binding) {
	less(c.nodes, x.Node)
	if x.Lost {
		c.lost--
	}
}

// countHeld follows whether an entry is held.
func (b *Book) countHeld(e *entry) {
	switch is := e.held && !e.kept.IsZero(); {
	case is && !e.told:
		b.census.held++
	case !is && e.told:
		b.census.held--
	default:
		return
	}
	e.told = !e.told
}
