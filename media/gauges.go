package media

// Gauges are the relay's figures as a whole.
type Gauges struct {
	Reserved, Free int // streams that hold ports; streams that could still get some
	Resting        int // free pairs that were given back less than two seconds ago
	HighWater      int // most streams at once since the start
	Missing        int // ports held by other programs
	Orphans        int // streams that an earlier run of signalling left, and whose ports are not free yet
	Renewals       int // how often the engine was lost and came back
	Strays         uint64
	Rejected       [NumRejections]uint64
	Delay          Delay // of the last half to one minute, where a Sweep comes in time; else since the start
}

// Gauges returns the present figures.
func (p *Plane) Gauges() (g Gauges) {
	p.mu.Lock()
	defer p.mu.Unlock()
	g.Reserved, g.HighWater, g.Missing = p.reserved, p.highWater, len(p.missing)
	g.Orphans, g.Renewals, g.Free = len(p.orphans), p.renewals, p.free()
	for block := range p.layout.Blocks {
		for _, pool := range p.pools[block] {
			g.Resting += pool.resting(p.latest)
		}
	}
	for i := range g.Rejected {
		g.Rejected[i] = p.board.head.totals[i].Load()
	}
	delays := p.board.delays().since(&p.lately.before)
	g.Delay = delays.delay()
	g.Strays = g.Rejected[RejectedStray]
	return g
}
