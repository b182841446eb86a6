package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"sallyport/sbc"
	"sallyport/sbc/api"
	"sallyport/sbc/config"
)

func newRun() *cobra.Command {
	var flags config.Flags
	cmd := &cobra.Command{
		Use: "run", Short: "Run the session border controller", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return run(cmd, flags) },
	}
	flags.Bind(cmd.Flags())
	return cmd
}

func run(cmd *cobra.Command, flags config.Flags) error {
	snap, report := load(flags)
	if text := report.String(); text != "" {
		fmt.Fprintln(cmd.ErrOrStderr(), text)
	}
	if snap == nil {
		return &exitError{code: exitUsage}
	}
	log, level, err := newLog(snap.Log)
	if err != nil {
		return &exitError{code: exitUsage, err: err}
	}
	security, reopen, err := newSecurityLog(snap.Log)
	if err != nil {
		return &exitError{code: exitUsage, err: err}
	}
	flush := flusher(log, security)
	defer flush()
	release, err := lockState(snap.StateDir, snap.Place("state.directory"))
	if err != nil {
		return &exitError{code: exitUsage, err: err}
	}
	defer release()
	kept, err := openKept(snap.StateDir)
	if err != nil {
		return &exitError{code: exitUsage, err: fmt.Errorf("%s: %w", snap.Place("state.directory"), err)}
	}
	gate, err := newGate(cmd.Context(), snap, sbc.Options{
		Version: version, Log: log, Level: level, Security: security, State: kept.bindings, Names: kept.names, Bans: kept.bans, Calls: kept.calls, Drains: kept.drains, StateDir: snap.StateDir,
	})
	if err != nil {
		return &exitError{code: exitUsage, err: snap.Placed(err)}
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	again := func() (*config.Snapshot, config.Report) { return load(flags) }
	served, err := serve(ctx, gate.Control(again), snap.Socket, log)
	if err != nil {
		return &exitError{code: exitUsage, err: err}
	}
	var helpers sync.WaitGroup
	gone := make(chan struct{})
	helpers.Go(func() {
		attend(ctx, stop, gone, gate, log, flush, func() (*config.Snapshot, config.Report) {
			reopen(log) // logrotate says so by SIGHUP, too
			return again()
		})
	})
	helpers.Go(served)
	gate.Run(ctx)
	close(gone)
	helpers.Wait()
	return nil
}

// newGate opens what the configuration asks for, media in a process of its own.
func newGate(ctx context.Context, snap *config.Snapshot, opt sbc.Options) (*sbc.SBC, error) {
	// Most of what the gate holds are tables without pointers, which a collection does not look at. Collecting sooner than
	// usual costs next to nothing and keeps the memory in use small and warm.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(40)
	}
	var err error
	if opt.Relay, err = relayOf(ctx, snap.Socket, opt.Log); err != nil {
		return nil, err
	}
	return sbc.New(snap, opt)
}

// serve opens the admin socket; the function it returns answers on it until the context ends.
func serve(ctx context.Context, control api.Control, named string, log *zap.Logger) (func(), error) {
	l, err := api.Listen(ctx, api.Places(named, os.Getenv))
	if _, taken := errors.AsType[*api.InUseError](err); taken {
		return nil, err
	}
	if err != nil {
		log.Warn("no admin socket: `sbc status` and the other verbs cannot ask this program", zap.Error(err))
		return func() {}, nil
	}
	server := api.NewServer(api.Options{
		Control: control, UID: api.OwnUID(),
		Change: func(uid int, what string, err error) {
			log.Info("asked for: "+what, zap.Int("uid", uid), zap.Error(err))
		},
	})
	return func() {
		if err := server.Serve(ctx, l); err != nil {
			log.Warn("admin socket", zap.Error(err))
		}
	}, nil
}

// loader reads the configuration, file and flags, as at the start.
type loader func() (*config.Snapshot, config.Report)

// attend serves signals until the gate has gone: SIGTERM drains, SIGINT or a second one hangs up, one more exits at once,
// SIGHUP reloads.
func attend(ctx context.Context, stop func(), gone <-chan struct{}, gate *sbc.SBC, log *zap.Logger, flush func(), again loader) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)
	draining := false
	for {
		var sig os.Signal
		select {
		case <-gone:
			return
		case sig = <-signals:
		}
		switch {
		case sig == syscall.SIGHUP:
			reload(ctx, gate, log, again)
		case ctx.Err() != nil:
			log.Warn("a further signal: the program exits, what is left is not hung up")
			flush()
			os.Exit(exitFailed)
		case draining || sig == syscall.SIGINT:
			log.Info("hanging up")
			stop()
		default:
			draining = true
			wait := gate.DrainTimeout()
			log.Info("draining: no new calls, " + wait.String() + " for those in progress")
			go func() {
				if left, err := gate.Drain(ctx, wait); err == nil && left > 0 {
					log.Warn(fmt.Sprintf("%d calls are hung up: drain_timeout %s is over", left, wait))
				}
				stop()
			}()
		}
	}
}

func reload(ctx context.Context, gate *sbc.SBC, log *zap.Logger, again loader) {
	snap, report := again()
	if snap == nil {
		gate.NotReloaded()
		log.Error("configuration not reloaded, nothing has changed", zap.Error(report.Err()))
		return
	}
	for _, w := range report.Warnings {
		log.Warn(w.String())
	}
	if _, _, err := gate.Revise(ctx, snap, sbc.Careful{}); err != nil {
		log.Error("configuration not reloaded, nothing has changed", zap.Error(err))
	}
}
