package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sallyport/sbc/api"
)

// session is the address that the administrator works from, as sshd tells it (sshd(8), ENVIRONMENT); "": at the machine.
func session(getenv func(string) string) string {
	from, _, _ := strings.Cut(getenv("SSH_CONNECTION"), " ")
	return from
}

func newReload() *cobra.Command {
	var r api.ReloadRequest
	var trial time.Duration
	var keep bool
	cmd := ask("reload", "Read the configuration anew; --diff only says what would change, and whom it would shut out", cobra.NoArgs,
		func(ctx context.Context, a *asking, c *api.Client, cmd *cobra.Command, _ []string) error {
			if keep {
				if err := c.KeepReload(ctx); err != nil {
					return err
				}
				return a.print(cmd, struct {
					Kept bool `json:"kept"`
				}{true}, func() string { return "kept" })
			}
			r.Session = session(os.Getenv)
			if trial > 0 {
				r.Confirm = trial.String()
			}
			result, err := c.Reload(ctx, r)
			if err != nil {
				return err
			}
			text, ok := result.Text(time.Local)
			if err := a.print(cmd, result, func() string { return text }); err != nil {
				return err
			}
			if !ok {
				return &exitError{code: exitFailed}
			}
			if result.Returns.IsZero() || a.json {
				return nil
			}
			return keepOrNot(ctx, c, cmd, time.Until(result.Returns))
		})
	cmd.Flags().BoolVar(&r.Diff, "diff", false, "change nothing, say what would change and who would be shut out")
	cmd.Flags().BoolVar(&r.Force, "force", false, "even if it shuts out a trunk, the PBX, your own session or many phones")
	cmd.Flags().DurationVar(&trial, "confirm", 0, "put it on trial: without your yes the configuration before comes back after so long")
	cmd.Flags().BoolVar(&keep, "keep", false, "keep the configuration that is on trial")
	cmd.MarkFlagsMutuallyExclusive("diff", "confirm", "keep")
	cmd.MarkFlagsMutuallyExclusive("force", "keep")
	return cmd
}

// keepOrNot asks whether a configuration on trial is to be kept. Who is cut off cannot answer: that is the point.
func keepOrNot(ctx context.Context, c *api.Client, cmd *cobra.Command, left time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	fmt.Fprint(cmd.OutOrStdout(), "keep it? (yes) ")
	said := make(chan string, 1)
	go func() { // it ends with the program: a read of a terminal cannot be called off
		line, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
		if err != nil && line == "" {
			close(said) // nobody is there to ask
			return
		}
		said <- strings.TrimSpace(line)
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(cmd.OutOrStdout())
		return errors.New("no answer: the configuration before comes back")
	case word, answered := <-said:
		if !answered {
			fmt.Fprintln(cmd.OutOrStdout())
			return nil
		}
		if word != "yes" && word != "y" {
			return errors.New("not kept: the configuration before comes back when the time is over")
		}
	}
	if err := c.KeepReload(ctx); err != nil {
		return err
	}
	fmt.Fprintln(cmd.OutOrStdout(), "kept")
	return nil
}
