package config

// CapacitySection bounds the calls of a trunk, or of a group of trunks, in both directions together.
type CapacitySection struct {
	Calls          int `yaml:"calls" bounds:"0..1000000" reload:"live"`          // at a time; 0: any
	CallsPerSecond int `yaml:"calls_per_second" bounds:"0..10000" reload:"live"` // that begin within any second; 0: any
	Code           int `yaml:"code" bounds:"400..699" reload:"live"`             // what the provider hears of one too many
}

// NodeCapacity bounds the calls of a node of the PBX, in both directions together.
type NodeCapacity struct {
	Calls int `yaml:"calls" bounds:"0..1000000" reload:"live"` // at a time; 0: any
}

// PhoneCapacity bounds the calls of phones, in both directions together.
type PhoneCapacity struct {
	Calls     int `yaml:"calls" bounds:"0..1000" reload:"live"`        // of one address-of-record at a time; 0: any
	PerSource int `yaml:"per_source" bounds:"0..100000" reload:"live"` // of one source address at a time; 0: any
}

// GroupEntry is a group of trunks that share something: trunks[].group names it.
type GroupEntry struct {
	Name     string          `yaml:"name" reload:"live"`
	Capacity CapacitySection `yaml:"capacity"` // of all its trunks together, besides their own
}

// busyHere is what one call too many hears of a trunk: a provider stops the whole trunk on a 503, and tries another way on it, where
// the call is just as much one too many.
const busyHere = 486

func defaultCapacity() CapacitySection { return CapacitySection{Code: busyHere} }

func (e *GroupEntry) setDefaults() { *e = GroupEntry{Capacity: defaultCapacity()} }
