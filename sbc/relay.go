package sbc

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"sallyport/media"
	"sallyport/media/process"
	"sallyport/media/steer"
	"sallyport/sbc/config"
)

// MediaProcess is what a media process is told at its start. The rest it learns from whoever greets it.
type MediaProcess struct {
	Socket, Build string
	// Follow ends the process once signalling is gone and no call is left.
	Follow bool
	// Backend is what carries the datagrams where media.backend is auto: auto, epoll or steer.
	Backend string
	// Say takes what goes into the log.
	Say func(text string)
}

// ErrBackend says that there is no back end of that name.
var ErrBackend = errors.New("no such back end")

// ServeMedia is the media process: it relays for whoever greets it on its socket, until ctx is done or nobody needs it any
// more. It makes this process one that does nothing else, which takes a new start of the program.
func ServeMedia(ctx context.Context, o MediaProcess) error {
	preferred, ok := media.ParseChoice(o.Backend)
	if !ok {
		return fmt.Errorf("%w: %q\n  hint: write auto, epoll or steer", ErrBackend, o.Backend)
	}
	if err := process.Become(); err != nil {
		return err
	}
	return process.Serve(ctx, process.ServeOptions{
		Socket: o.Socket, Build: o.Build, Follow: o.Follow, Say: o.Say,
		Backend: func(board process.MakeBoard) process.Carrier {
			return &carrier{preferred: preferred, board: once(board), kinds: kindsOf(true), say: o.Say}
		},
	})
}

// ProbeRelay says which back end a media process of this user, with the rights of this process, would carry a
// configuration's datagrams by, and why not by steer, "" if it would. The error says that it would refuse.
func ProbeRelay(snap *config.Snapshot) (backend, why string, err error) {
	return probeRelay(snap, steer.Probe)
}

func probeRelay(snap *config.Snapshot, probe func(...netip.Addr) error) (backend, why string, err error) {
	wanted, _ := media.ParseChoice(snap.Media.Backend)
	asked := relayConfig(snap, nil)
	refused := steer.Families(asked.Others[:]...)
	if refused == nil {
		refused = probe(asked.Addresses[:]...)
	}
	switch {
	case wanted == media.Epoll && refused == nil:
		return media.Epoll.String(), "media.backend is epoll; steer would be possible", nil
	case wanted == media.Epoll:
		return media.Epoll.String(), "media.backend is epoll; nor would it be possible: " + steer.Reason(refused), nil
	case refused == nil:
		return media.Steer.String(), "", nil
	case wanted == media.Steer:
		return "", steer.Reason(refused), fmt.Errorf("%w: %s", errSteer, steer.Reason(refused))
	}
	return media.Epoll.String(), steer.Reason(refused), nil
}

// Relay carries media.
type Relay = media.Backend

// RelayOptions are where the media process is found and how it is started.
type RelayOptions struct {
	Socket  string
	Version string
	// Program, called Argv0, with Arguments serves Socket and follows its signalling.
	Program, Argv0 string
	Arguments      []string
	Log            *zap.Logger
}

// NewRelay is a relay in a process of its own, which goes on while this one restarts. Where no such process answers and
// none can be started, the relay is in this one, and the log says so.
func NewRelay(o RelayOptions) Relay {
	r := &relay{log: o.Log, kinds: kindsOf(false)}
	r.process = process.New(process.Options{
		Socket: o.Socket, Build: o.Version, Program: o.Program, Argv0: o.Argv0, Arguments: o.Arguments,
		Say: func(text string, err error) {
			if err != nil {
				o.Log.Warn(text, zap.Error(err))
				return
			}
			o.Log.Info(text)
		},
	})
	return r
}

// NewRelayHere is a relay in this process, for want of a place for another one; why says which.
func NewRelayHere(log *zap.Logger, why error) Relay {
	return &relay{log: log, kinds: kindsOf(false), homeless: why}
}

// relay is the back end of a running gate: the process, or what stands in for it.
type relay struct {
	log      *zap.Logger
	kinds    kinds
	process  *process.Backend        // nil: there is no place for one
	homeless error                   // why
	choice   media.Choice            // what is asked for
	here     atomic.Pointer[carrier] // nil: the process
}

// Open implements media.Backend.
func (r *relay) Open(layout media.Layout, hears media.Listener) (*media.Board, error) {
	r.choice = layout.Choice
	why := r.homeless
	if r.process != nil {
		var board *media.Board
		if board, why = r.process.Open(layout, hears); !errors.Is(why, process.ErrUnreachable) {
			return board, why
		}
	}
	r.log.Warn("media is relayed by this process itself: audio stops when it restarts", zap.Error(why))
	here := &carrier{kinds: r.kinds, say: func(text string) { r.log.Info("media: " + text) }}
	board, err := here.Open(layout, hears)
	if err == nil {
		r.here.Store(here)
	}
	return board, err
}

// Post implements media.Backend.
func (r *relay) Post(c media.Command) {
	if here := r.here.Load(); here != nil {
		here.Post(c)
	} else if r.process != nil {
		r.process.Post(c)
	}
}

// Close implements media.Backend.
func (r *relay) Close() error {
	if here := r.here.Load(); here != nil {
		return here.Close()
	}
	if r.process == nil {
		return nil
	}
	return r.process.Close()
}

// Workers is how many workers a range deserves.
func (r *relay) Workers(pairs int) int {
	if r.process == nil {
		return 1
	}
	return r.process.Workers(pairs)
}

// carriedBy is what carries the datagrams at the moment.
type carriedBy struct {
	Backend  string        // epoll, steer; "": nothing, the process is lost
	NotSteer string        // why not; "": it is steer, or somebody else knows
	Process  process.State // PID 0: this process
}

// carried is what carries the datagrams at the moment.
func (r *relay) carried() (c carriedBy) {
	if here := r.here.Load(); here != nil {
		c.Backend, c.NotSteer = described(here.String())
		return c
	}
	if r.process == nil {
		return c
	}
	c.Process = r.process.State()
	c.Backend, c.NotSteer = described(c.Process.Backend)
	if r.choice == media.Epoll && c.NotSteer != "" {
		c.NotSteer = byChoice
	}
	return c
}

// String is what the start-up line calls it.
func (r *relay) String() string {
	c := r.carried()
	text := c.Backend
	if r.here.Load() == nil {
		if c.Process.PID == 0 {
			return "in a process that is lost"
		}
		text = fmt.Sprintf("%s in process %d, %d workers", c.Backend, c.Process.PID, c.Process.Workers)
		if c.Process.Workers == 1 {
			text = strings.TrimSuffix(text, "1 workers") + "one worker"
		}
	}
	if c.NotSteer != "" {
		text += notSteer + c.NotSteer + endMark
	}
	return text
}

// relayConfig is what a configuration asks of the relay.
func relayConfig(snap *config.Snapshot, b media.Backend) media.Config {
	m := &snap.Media
	cfg := media.Config{First: m.FirstPort, Last: m.LastPort, DSCP: int(m.DSCP), Silence: min(m.Timeout, 24*time.Hour)}
	cfg.LowLatency = m.Latency == "low"
	cfg.Choice, _ = media.ParseChoice(m.Backend) // the configuration knows no others
	for side := range cfg.Addresses {
		if list := m.Addresses[side]; len(list) > 0 {
			cfg.Addresses[side] = list[0]
			if len(list) > 1 {
				cfg.Others[side] = list[1]
			}
		}
	}
	if shared, ok := b.(interface{ Workers(pairs int) int }); ok {
		cfg.Workers = shared.Workers((int(m.LastPort) - int(m.FirstPort) + 1) / 2)
	}
	return cfg
}

// backendName is what a back end calls itself.
func backendName(b media.Backend) string {
	if named, ok := b.(fmt.Stringer); ok {
		return named.String()
	}
	return "of its own"
}
