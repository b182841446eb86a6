package main

import (
	"context"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"sallyport/sbc/config"
	"sallyport/sbc/demo"
)

func newDemo() *cobra.Command {
	var once, asJSON, verbose bool
	cmd := &cobra.Command{
		Use: "demo", Short: "Make real calls through the gate on loopback, between a stand-in provider, a phone behind a NAT, and a stand-in PBX",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o := demo.Options{Once: once, JSON: asJSON, Out: cmd.OutOrStdout()}
			if verbose {
				log, _, err := newLog(config.Log{Level: "info", Format: "console"})
				if err != nil {
					return &exitError{code: exitUsage, err: err}
				}
				defer func() { _ = log.Sync() }()
				o.Log = log
			}
			return runDemo(cmd.Context(), o)
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "end when all scenes are over: exit 0 if all is well, else 1")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	cmd.Flags().BoolVar(&verbose, "verbose", false, "print the gate's log on stderr")
	return cmd
}

func runDemo(ctx context.Context, o demo.Options) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	report, err := demo.Run(ctx, o)
	switch {
	case err != nil:
		return &exitError{code: exitFailed, err: err}
	case !report.OK:
		return &exitError{code: exitFailed}
	}
	return nil
}
