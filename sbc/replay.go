package sbc

import (
	"context"
	"io"
	"time"

	"sallyport/policy/replay"
	"sallyport/sbc/config"
	"sallyport/sbc/message"
	"sallyport/sbc/names"
	"sallyport/sbc/registrar"
)

// replaySetup is a configuration as a replay runs it: with the lists and names that rules work with as they are now.
func replaySetup(ctx context.Context, snap *config.Snapshot) (*replay.Setup, error) {
	found, err := newSources(&Options{Now: time.Now, StateDir: snap.StateDir}, nil).prepare(ctx, snap)
	if err != nil {
		return nil, err
	}
	w := newWorld(names.LookedUp(ctx, snap, nil), nil, nil)
	return &replay.Setup{
		Name: snap.Path(), Config: snap.Policy.Guard(), Data: found.data, Peers: w.guardPeers(), Interfaces: snap.Interfaces,
		AoR: func(user, host string) string { return w.aor(message.URI{Scheme: "sip", User: user, Host: host}) },
		Reachable: func(uri string) bool {
			u, err := message.ParseURI(uri)
			return err == nil && reachable(snap, u)
		},
		Grace: registrar.Grace, Throttled: snap.Phones.Inside > 0,
	}, nil
}

// Replay runs a capture, which it opens several times, through the rules of a configuration.
func Replay(ctx context.Context, open func() (io.ReadCloser, error), snap *config.Snapshot) (*replay.Report, error) {
	s, err := replaySetup(ctx, snap)
	if err != nil {
		return nil, err
	}
	return replay.Run(open, s)
}

// ReplayAgainst tells whom a configuration would refuse that another one lets in, and the other way round.
func ReplayAgainst(ctx context.Context, open func() (io.ReadCloser, error), old, next *config.Snapshot) (*replay.Comparison, error) {
	a, err := replaySetup(ctx, old)
	if err != nil {
		return nil, err
	}
	b, err := replaySetup(ctx, next)
	if err != nil {
		return nil, err
	}
	return replay.Compare(open, a, b)
}

// SuggestLimits learns rate limits from a capture: percent of the minutes of all phones pass by the percentile alone,
// margin is added in percent.
func SuggestLimits(ctx context.Context, open func() (io.ReadCloser, error), snap *config.Snapshot, percentile, margin float64) (*replay.Suggestion, error) {
	s, err := replaySetup(ctx, snap)
	if err != nil {
		return nil, err
	}
	return replay.Suggest(open, s, replay.SuggestOptions{Percentile: percentile, Margin: margin})
}
