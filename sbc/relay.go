package sbc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"sallyport/media"
	"sallyport/media/epoll"
	"sallyport/media/process"
	"sallyport/sbc/config"
)

// RelayLoad is a fixed load for the relay engine alone.
type RelayLoad = epoll.Load

// ServeRelay runs the relay engine alone, in a process that does nothing else, until in ends: what its processor time is
// measured on.
func ServeRelay(ctx context.Context, load RelayLoad, in io.Reader, out io.Writer) error {
	return epoll.Serve(ctx, load, in, out)
}

// MediaProcess is what a media process is told at its start.
type MediaProcess = process.ServeOptions

// ServeMedia is the media process: it relays for whoever greets it on its socket, until ctx is done or nobody needs it any
// more. It makes this process one that does nothing else, which takes a new start of the program.
func ServeMedia(ctx context.Context, o MediaProcess) error {
	if err := process.Become(); err != nil {
		return err
	}
	return process.Serve(ctx, o)
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
	r := &relay{log: o.Log}
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

// relay is the back end of a running gate: the process, or what stands in for it.
type relay struct {
	log     *zap.Logger
	process *process.Backend
	here    atomic.Pointer[epoll.Backend] // nil: the process
}

// Open implements media.Backend.
func (r *relay) Open(layout media.Layout, hears media.Listener) (*media.Board, error) {
	board, err := r.process.Open(layout, hears)
	if !errors.Is(err, process.ErrUnreachable) {
		return board, err
	}
	r.log.Warn("media is relayed by this process itself: audio stops when it restarts", zap.Error(err))
	here := epoll.New(epoll.Options{})
	r.here.Store(here)
	return here.Open(layout, hears)
}

// Post implements media.Backend.
func (r *relay) Post(c media.Command) {
	if here := r.here.Load(); here != nil {
		here.Post(c)
		return
	}
	r.process.Post(c)
}

// Close implements media.Backend.
func (r *relay) Close() error {
	if here := r.here.Load(); here != nil {
		return here.Close()
	}
	return r.process.Close()
}

// String is what the start-up line calls it.
func (r *relay) String() string {
	if here := r.here.Load(); here != nil {
		return here.String()
	}
	return r.process.String()
}

// Workers is how many workers a range deserves.
func (r *relay) Workers(pairs int) int { return r.process.Workers(pairs) }

// relayConfig is what a configuration asks of the relay.
func relayConfig(snap *config.Snapshot, b media.Backend) media.Config {
	m := &snap.Media
	cfg := media.Config{First: m.FirstPort, Last: m.LastPort, DSCP: int(m.DSCP), Silence: min(m.Timeout, 24*time.Hour)}
	for side := range cfg.Addresses {
		if len(m.Addresses[side]) > 0 {
			cfg.Addresses[side] = m.Addresses[side][0]
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
