package main

import (
	"context"
	"os"
	"time"

	"github.com/spf13/cobra"

	"sallyport/sbc/api"
)

func newBans() *cobra.Command {
	bans := ask("bans", "The bans in force, made by hand and from evidence", cobra.NoArgs,
		func(ctx context.Context, a *asking, c *api.Client, cmd *cobra.Command, _ []string) error {
			list, err := c.Bans(ctx)
			if err != nil {
				return err
			}
			return a.print(cmd, list, func() string { return api.BansText(list, time.Local) })
		})
	bans.AddCommand(newBansAdd(), newBansRemove())
	return bans
}

func newBansAdd() *cobra.Command {
	var length time.Duration
	var ban api.Ban
	add := ask("add ADDRESS|PREFIX", "Ban an address or a prefix: its connections and ringing calls end, established calls go on", cobra.ExactArgs(1),
		func(ctx context.Context, a *asking, c *api.Client, cmd *cobra.Command, args []string) error {
			ban.Address, ban.Session = args[0], session(os.Getenv)
			if length > 0 {
				ban.Until = time.Now().Add(length)
			}
			made, err := c.AddBan(ctx, ban)
			if err != nil {
				return err
			}
			return a.print(cmd, made, func() string { return "banned " + made.Target() })
		})
	add.Flags().DurationVar(&length, "for", 0, "how long; 0: until it is removed")
	add.Flags().StringVar(&ban.Comment, "comment", "", "`text` that sbc why and sbc bans show")
	add.Flags().StringSliceVar(&ban.Realms, "realm", nil, "phones or trunks; absent: both")
	add.Flags().BoolVar(&ban.Force, "force", false, "even if it shuts out a trunk, the PBX, your own session or many phones")
	return add
}

func newBansRemove() *cobra.Command {
	return ask("remove ADDRESS|PREFIX|USER", "Lift the bans of an address or a prefix, and forget what counted against it; of a user, those of him alone, and the slow pace of his credentials", cobra.ExactArgs(1),
		func(ctx context.Context, a *asking, c *api.Client, cmd *cobra.Command, args []string) error {
			if err := c.RemoveBan(ctx, args[0]); err != nil {
				return err
			}
			return a.print(cmd, struct {
				Removed string `json:"removed"`
			}{args[0]}, func() string { return "no longer banned: " + args[0] })
		})
}
