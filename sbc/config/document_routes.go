package config

// RoutesSection says where calls go that the numbers of the trunks do not decide by themselves.
type RoutesSection struct {
	Inbound []InboundEntry `yaml:"inbound" reload:"live"` // calls from trunks; the first that fits counts
	Country string         `yaml:"country" reload:"live"` // where the PBX's phones dial; "": unknown
}

// InboundEntry is a rule on calls from trunks. Conditions that are given must all hold.
type InboundEntry struct {
	Trunk   Words         `yaml:"trunk,omitempty" reload:"live"` // names; absent: every trunk
	DID     Expressions   `yaml:"did,omitempty" reload:"live"`   // the number that is called; absent: any
	From    Expressions   `yaml:"from,omitempty" reload:"live"`  // the user that calls; absent: any
	To      Words         `yaml:"to,omitempty" reload:"live"`    // groups of PBX nodes, in order; absent: all nodes
	Numbers []NumberEntry `yaml:"numbers,omitempty" reload:"live"`
}

// Expressions is a list of expressions; in the file one may stand for a list of one.
type Expressions []Pattern

func (Expressions) acceptsOne() {}

// TrunkInboundSection tells a trunk from others that have the same sources.
type TrunkInboundSection struct {
	Match Expressions `yaml:"match" reload:"live"` // numbers that are called by it alone; none: it is not told by them
}

// CodeNames are status codes, or classes of them: 5xx.
type CodeNames = Words
