package config

// Capacity bounds the calls of a trunk or a group; 0: any.
type Capacity struct {
	Calls     int
	PerSecond int // that begin within any second
	Code      int // what the provider hears of one too many
}

// Group is a group of trunks.
type Group struct {
	Name     string
	Capacity Capacity
}

func buildCapacity(s CapacitySection) Capacity {
	return Capacity{Calls: s.Calls, PerSecond: s.CallsPerSecond, Code: s.Code}
}

func buildGroups(list []GroupEntry) []Group {
	var out []Group
	for i := range list {
		out = append(out, Group{Name: list[i].Name, Capacity: buildCapacity(list[i].Capacity)})
	}
	return out
}
