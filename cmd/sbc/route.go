package main

import (
	"context"

	"github.com/spf13/cobra"

	"sallyport/sbc"
	"sallyport/sbc/api"
	"sallyport/sbc/config"
)

// newRoute is what there is to ask of the rules on where calls go.
func newRoute() *cobra.Command {
	cmd := &cobra.Command{Use: "route", Short: "Where calls go"}
	cmd.AddCommand(newRouteTest())
	return cmd
}

// newRouteTest shows where a call would go, and why; nobody makes it.
func newRouteTest() *cobra.Command {
	var q api.RouteQuestion
	var configuration string
	tell := func(cmd *cobra.Command, a *asking, r api.RouteAnswer) error {
		if err := a.print(cmd, r, r.Text); err != nil {
			return err
		}
		if len(r.Hops) == 0 {
			return &exitError{code: exitRefused}
		}
		return nil
	}
	cmd := ask("test NUMBER", "Where a call would go: each hop with its health, its calls and the numbers it would get, and what each rule has to say; exit 0, 3: nowhere",
		cobra.ExactArgs(1),
		func(ctx context.Context, a *asking, c *api.Client, cmd *cobra.Command, _ []string) error {
			r, err := c.TestRoute(ctx, q)
			if err != nil {
				return err
			}
			return tell(cmd, a, r)
		})
	running := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		q.Number = args[0]
		if configuration == "" {
			return running(cmd, args)
		}
		snap, report := load(config.Flags{Config: configuration})
		if snap == nil {
			return &exitError{code: exitUsage, err: report.Err()}
		}
		r, err := sbc.TestRoute(snap, q)
		if err != nil {
			return &exitError{code: exitUsage, err: err}
		}
		asJSON, _ := cmd.Flags().GetBool("json")
		return tell(cmd, &asking{json: asJSON}, r)
	}
	f := cmd.Flags()
	f.StringVar(&q.From, "from", "", "the user that calls: an extension of the PBX, or with --trunk the caller's number")
	f.StringVar(&q.Trunk, "trunk", "", "the call comes in by this trunk; default: the PBX makes it")
	f.StringVar(&configuration, "config", "", "ask this file instead of the running program")
	return cmd
}
