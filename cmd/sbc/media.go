package main

import (
	"fmt"
	"net/netip"
	"os"

	"github.com/spf13/cobra"

	"sallyport/sbc"
)

// newMedia is the engine alone in a process of its own, under a fixed load: what its processor time is measured on. It
// is hidden: nobody's calls run through it.
func newMedia() *cobra.Command {
	var load sbc.RelayLoad
	var bind, peers [2]string
	var first, last uint16
	cmd := &cobra.Command{
		Use: "media", Short: "The relay engine alone, under a fixed load, until standard input ends", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			load.Config.First, load.Config.Last = first, last
			for side := range bind {
				a, err := netip.ParseAddr(bind[side])
				if err != nil {
					return &exitError{code: exitUsage, err: fmt.Errorf("%w\n  hint: give --outside and --inside addresses of this machine", err)}
				}
				p, err := netip.ParseAddrPort(peers[side])
				if err != nil {
					return &exitError{code: exitUsage, err: fmt.Errorf("%w\n  hint: give --outside-peer and --inside-peer as address:port", err)}
				}
				load.Config.Addresses[side], load.Peers[side] = a, p
			}
			if err := sbc.ServeRelay(cmd.Context(), load, os.Stdin, cmd.OutOrStdout()); err != nil {
				return &exitError{code: exitFailed, err: err}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.IntVar(&load.Streams, "streams", 250, "streams to set up")
	f.StringVar(&bind[0], "outside", "127.0.1.1", "bind address outside")
	f.StringVar(&bind[1], "inside", "127.0.2.1", "bind address inside")
	f.StringVar(&peers[0], "outside-peer", "127.16.0.1:4000", "first generator address outside")
	f.StringVar(&peers[1], "inside-peer", "127.17.0.1:4000", "first generator address inside")
	f.Uint16Var(&first, "first", 30000, "first port")
	f.Uint16Var(&last, "last", 31001, "last port")
	return cmd
}
