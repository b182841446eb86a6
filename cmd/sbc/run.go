package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"sallyport/media/epoll"
	"sallyport/sbc"
	"sallyport/sbc/cdr"
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
	snap, report := config.Load(flags.Path(), flags)
	if text := report.String(); text != "" {
		fmt.Fprintln(cmd.ErrOrStderr(), text)
	}
	if snap == nil {
		return &exitError{code: exitUsage}
	}
	log, err := newLog(snap.Log)
	if err != nil {
		return &exitError{code: exitUsage, err: err}
	}
	defer func() { _ = log.Sync() }()
	where := cdr.Config{
		Directory: snap.CDR.Directory, Rotate: snap.CDR.Rotate, Keep: snap.CDR.Keep, MaxSize: snap.CDR.MaxSize,
		Format: snap.CDR.Format,
	}
	if err := where.Validate(); err != nil {
		return &exitError{code: exitUsage, err: err}
	}
	records := cdr.New(where, time.Now, func(err error) { log.Warn("CDR", zap.Error(err)) })
	defer func() { _ = records.Close() }()
	gate, err := sbc.New(snap, sbc.Options{Version: version, Log: log, Relay: epoll.New(epoll.Options{}), Records: records})
	if err != nil {
		return &exitError{code: exitUsage, err: err}
	}
	ctx, stop := context.WithCancel(cmd.Context())
	defer stop()
	go attend(ctx, stop, gate, log, snap.Drain, flags)
	gate.Run(ctx)
	return nil
}

// attend serves signals: SIGTERM drains, SIGINT or a second one hangs up, a third one exits, SIGHUP reloads.
func attend(ctx context.Context, stop func(), gate *sbc.SBC, log *zap.Logger, wait time.Duration, flags config.Flags) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	ending := false
	for {
		select {
		case <-ctx.Done():
			return
		case sig := <-signals:
			switch {
			case sig == syscall.SIGHUP:
				reload(ctx, gate, log, flags)
			case ending && ctx.Err() != nil:
				os.Exit(exitFailed)
			case ending || sig == syscall.SIGINT:
				ending = true
				stop()
			default:
				ending = true
				log.Info("draining", zap.String("msg", wait.String()))
				go func() {
					if left, err := gate.Drain(ctx, wait); err == nil && left > 0 {
						log.Warn(fmt.Sprintf("%d calls are hung up: drain_timeout %s is over", left, wait))
					}
					stop()
				}()
			}
		}
	}
}

func reload(ctx context.Context, gate *sbc.SBC, log *zap.Logger, flags config.Flags) {
	snap, report := config.Load(flags.Path(), flags)
	if snap == nil {
		log.Error("configuration not reloaded, nothing has changed", zap.Error(report.Err()))
		return
	}
	if _, err := gate.Reload(ctx, snap); err != nil {
		log.Error("configuration not reloaded, nothing has changed", zap.Error(err))
	}
}
