package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"sallyport/sbc/api"
)

func newTrunks() *cobra.Command {
	trunks := ask("trunks", "The trunks with their health and calls", cobra.NoArgs,
		func(ctx context.Context, a *asking, c *api.Client, cmd *cobra.Command, _ []string) error {
			list, err := c.Trunks(ctx)
			if err != nil {
				return err
			}
			return a.print(cmd, list, func() string { return api.TrunksText(list, time.Local) })
		})
	drain := func(verb, short string, on bool) *cobra.Command {
		return ask(verb+" NAME", short, cobra.ExactArgs(1),
			func(ctx context.Context, a *asking, c *api.Client, cmd *cobra.Command, args []string) error {
				t, err := c.DrainTrunk(ctx, args[0], on)
				if err != nil {
					return err
				}
				return a.print(cmd, t, func() string { return api.TrunksText([]api.Trunk{t}, time.Local) })
			})
	}
	trunks.AddCommand(
		drain("drain", "Send a trunk no new calls, and take none from it: those in progress go on", true),
		drain("undrain", "Use a trunk again that was drained", false))
	return trunks
}

func newPBX() *cobra.Command {
	pbx := ask("pbx", "The PBX nodes with their health and calls", cobra.NoArgs,
		func(ctx context.Context, a *asking, c *api.Client, cmd *cobra.Command, _ []string) error {
			list, err := c.Nodes(ctx)
			if err != nil {
				return err
			}
			return a.print(cmd, list, func() string { return api.NodesText(list, time.Local) })
		})
	drain := func(verb, short string, on bool) *cobra.Command {
		return ask(verb+" NODE", short, cobra.ExactArgs(1),
			func(ctx context.Context, a *asking, c *api.Client, cmd *cobra.Command, args []string) error {
				n, err := c.DrainNode(ctx, args[0], on)
				if err != nil {
					return err
				}
				return a.print(cmd, n, func() string { return api.NodesText([]api.Node{n}, time.Local) })
			})
	}
	pbx.AddCommand(
		drain("drain", "Send a node no new calls as long as another one is up: those in progress go on, registrations move as they come", true),
		drain("undrain", "Use a node again that was drained", false))
	return pbx
}
