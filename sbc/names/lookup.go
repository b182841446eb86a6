package names

import (
	"context"
	"time"

	"sallyport/sbc/config"
	"sallyport/sbc/resolve"
)

// LookedUp is a configuration as the network says of it now, for a trial without a running program: each name is asked for once, for
// three seconds in all. ex answers; nil: the name servers of this machine. A configuration without names is handed back.
func LookedUp(ctx context.Context, snap *config.Snapshot, ex resolve.Exchanger) *config.Snapshot {
	list := writtenIn(snap)
	if len(list) == 0 {
		return snap
	}
	w := once(ctx, list, ex)
	return Expand(snap, func(want resolve.Want) []resolve.Endpoint { return w.State(want).Endpoints })
}

// LookUp looks the names of a configuration up, as LookedUp does, and tells how they stand, in the order of Book.All.
func LookUp(ctx context.Context, snap *config.Snapshot, ex resolve.Exchanger) []Standing {
	list := writtenIn(snap)
	return standings(list, once(ctx, list, ex))
}

// once asks for names a single time.
func once(ctx context.Context, list []written, ex resolve.Exchanger) *resolve.Watcher {
	if ex == nil {
		ex = &resolve.System{}
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	w := resolve.NewWatcher(resolve.New(ex, time.Now), time.Now, func(resolve.Want, resolve.State, resolve.State) {})
	w.Ask(ctx, wants(list))
	return w
}
