package demo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"go.uber.org/zap"

	"sallyport/media/epoll"
	"sallyport/sbc"
	"sallyport/sbc/config"
)

// ending is how to end goroutines and wait for them.
type ending struct {
	running sync.WaitGroup
	stop    context.CancelFunc
}

// begin makes the context of goroutines.
func (e *ending) begin() context.Context {
	ctx, stop := context.WithCancel(context.Background())
	e.stop = stop
	return ctx
}

func (e *ending) end() {
	e.stop()
	e.running.Wait()
}

var errNoLine = errors.New("no socket for the audio of a call: too many files or ports are open")

// configuration is the gate's file. Anybody at 127.0.0.40–43 is the provider, at 127.0.0.30–31 the PBX, so that other
// programs can call, too. Phones may come from anywhere.
const configuration = `
outside: { address: %[1]s, phones: { udp: %[9]d }, trunks: { udp: %[2]d } }
inside: { address: %[3]s, phones: { udp: %[10]d }, trunks: { udp: %[4]d } }
media: { ports: %[5]d-%[6]d }
pbx:
  domain: pbx.example
  nodes: [ { address: "%[7]s", realms: [ phones, trunks ] } ]
  sources: [ 127.0.0.30/31 ]
phones: { keepalive: { interval: 5s } }
trunks:
  - name: provider
    peers: [ { address: "%[8]s" } ]
    sources: [ 127.0.0.40/30 ]
    outbound: { match: ["^\\+?[0-9]{2,15}$"] }
policy: { rate_limits: [] }
`

// pbxDomain is the domain of the configuration.
const pbxDomain = "pbx.example"

func (a *Addresses) yaml() []byte {
	return fmt.Appendf(nil, configuration, a.Outside.Addr(), a.Outside.Port(), a.Inside.Addr(), a.Inside.Port(),
		a.Media[0], a.Media[1], a.PBX, a.Provider, a.OutsidePhones.Port(), a.InsidePhones.Port())
}

// house is the whole set-up: the gate as it is, on real sockets, between a provider and a phone outside and a PBX.
type house struct {
	addresses Addresses
	gate      *sbc.SBC
	provider  *station
	pbx       *station
	phone     *phone
	records   *records
	traffic   *traffic

	conns  []*net.UDPConn
	seed   byte      // of the last stand-in's ids
	ending [2]ending // the gate, the stand-ins
	mark   uint32    // of the last stretch of audio
	calls  int       // that the scenes made: each leaves a CDR
}

// open starts everything. Say hears, in a clause, what is not as usual. Another program may take a port between its
// being found free and the gate's opening it: then all are chosen anew.
func open(log *zap.Logger, say func(string)) (h *house, err error) {
	for range 12 {
		if h, err = openOnce(log, say); err == nil {
			return h, nil
		}
		time.Sleep(rand.N(50 * time.Millisecond)) // two demonstrations that begin together would meet at each port
	}
	return nil, err
}

func openOnce(log *zap.Logger, say func(string)) (*house, error) {
	a, p, err := choose(say)
	if err != nil {
		return nil, err
	}
	h := &house{addresses: a, records: &records{}, traffic: newTraffic(&a), seed: byte(rand.Uint32()), conns: []*net.UDPConn{p.provider, p.pbx, p.phone}}
	snap, report := config.Parse("demonstration", a.yaml(), config.Flags{})
	if snap == nil {
		h.closeSockets()
		return nil, errors.New(report.String())
	}
	h.gate, err = sbc.New(snap, sbc.Options{
		Version: "demo", Log: log, Relay: epoll.New(epoll.Options{}), Records: h.records,
	})
	if err != nil {
		h.closeSockets()
		return nil, err
	}
	agents := h.ending[1].begin()
	h.provider = h.station("provider", "+4989200", a.Provider, p.provider)
	h.pbx = h.station("pbx", "+4930201", a.PBX, p.pbx)
	h.phone = h.newPhone(p.phone)
	for _, st := range h.stations() {
		h.ending[1].running.Go(func() { st.Run(agents) })
	}
	gate := h.ending[0].begin()
	h.ending[0].running.Go(func() { h.gate.Run(gate) })
	if missing := h.gate.Gauges().PortsMissing; missing > 0 {
		h.close()
		return nil, fmt.Errorf("another program has just taken %d media ports of %d-%d: run the demonstration again", missing, a.Media[0], a.Media[1])
	}
	return h, nil
}

// station makes a stand-in.
func (h *house) station(name, number string, at netip.AddrPort, conn *net.UDPConn) *station {
	h.seed++ // two with one seed would have the same tags, and the last scene would find them across
	agent := NewAgent(name, at, conn, h.seed)
	agent.Number, agent.Trace = number, h.traffic.tap(name)
	return newStation(agent)
}

func (h *house) stations() []*station { return []*station{h.provider, h.pbx, h.phone.station} }

// close ends everything and waits for it. The gate hangs up first, so that the stand-ins hear it.
func (h *house) close() {
	for i := range h.ending {
		h.ending[i].end()
	}
	h.closeSockets()
	for _, st := range h.stations() {
		st.closeAll()
	}
}

func (h *house) closeSockets() {
	for _, c := range h.conns {
		_ = c.Close()
	}
}
