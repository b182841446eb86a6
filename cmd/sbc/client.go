package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/spf13/cobra"

	"sallyport/sbc/api"
)

// asking is what the verbs that ask a running program share: --socket and --json.
type asking struct {
	socket string
	json   bool
}

// ask makes a verb that asks the running program.
func ask(use, short string, args cobra.PositionalArgs, f func(ctx context.Context, a *asking, c *api.Client, cmd *cobra.Command, args []string) error) *cobra.Command {
	var a asking
	cmd := &cobra.Command{
		Use: use, Short: short, Args: args,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
			defer stop()
			c, err := api.Dial(ctx, api.Places(a.socket, os.Getenv))
			if err != nil {
				return &exitError{code: exitFailed, err: err}
			}
			defer c.Close()
			if err := f(ctx, &a, c, cmd, args); err != nil {
				if _, own := errors.AsType[*exitError](err); own {
					return err
				}
				return &exitError{code: exitFailed, err: err}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&a.socket, "socket", "", "admin socket of the running program (also $SBC_SOCKET)")
	cmd.Flags().BoolVar(&a.json, "json", false, "print JSON")
	return cmd
}

// print writes a value as JSON, or its text.
func (a *asking) print(cmd *cobra.Command, v any, text func() string) error {
	if a.json {
		e := json.NewEncoder(cmd.OutOrStdout())
		e.SetIndent("", "  ")
		return e.Encode(v)
	}
	_, err := fmt.Fprint(cmd.OutOrStdout(), ended(text()))
	return err
}

func ended(text string) string {
	if text == "" || text[len(text)-1] == '\n' {
		return text
	}
	return text + "\n"
}

func newStatus() *cobra.Command {
	var limits, audit bool
	cmd := ask("status", "How the program stands; --limits: how full its tables are; --audit: what must be zero", cobra.NoArgs,
		func(ctx context.Context, a *asking, c *api.Client, cmd *cobra.Command, _ []string) error {
			s, err := c.Status(ctx)
			if err != nil {
				return err
			}
			switch {
			case limits:
				return a.print(cmd, s.Limits, s.LimitsText)
			case audit:
				text, ok := s.AuditText()
				if err := a.print(cmd, s.Audit, func() string { return text }); err != nil || ok {
					return err
				}
				return &exitError{code: exitFailed}
			default:
				return a.print(cmd, s, func() string { return s.Text(time.Local) })
			}
		})
	cmd.Flags().BoolVar(&limits, "limits", false, "level, high-water mark and capacity of every capped table")
	cmd.Flags().BoolVar(&audit, "audit", false, "what must be zero when no call is up; exit 1 if it is not")
	cmd.MarkFlagsMutuallyExclusive("limits", "audit")
	return cmd
}

func newCalls() *cobra.Command {
	return ask("calls [ID]", "The calls in progress, or one in full", cobra.MaximumNArgs(1),
		func(ctx context.Context, a *asking, c *api.Client, cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				one, err := c.Call(ctx, args[0])
				if err != nil {
					return err
				}
				return a.print(cmd, one, func() string { return one.Text(time.Now(), time.Local) })
			}
			list, err := c.Calls(ctx)
			if err != nil {
				return err
			}
			return a.print(cmd, list, func() string { return api.CallsText(list, time.Now(), time.Local) })
		})
}

func newRegistrations() *cobra.Command {
	return ask("registrations [AOR]", "The phones that are registered, or the bindings of one address of record in full", cobra.MaximumNArgs(1),
		func(ctx context.Context, a *asking, c *api.Client, cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				list, err := c.RegistrationsOf(ctx, args[0])
				if err != nil {
					return err
				}
				return a.print(cmd, list, func() string { return api.RegistrationsFull(list, time.Now(), time.Local) })
			}
			list, err := c.Registrations(ctx)
			if err != nil {
				return err
			}
			return a.print(cmd, list, func() string { return api.RegistrationsText(list, time.Now()) })
		})
}

// exitRefused is the exit code of `sbc why` for what is refused.
const exitRefused = 3

func newWhy() *cobra.Command {
	return ask("why ADDRESS|PHONE|NUMBER|TRUNK|CALL-ID", "Why a source is refused, a phone is not reached, or how calls went; exit 0 allowed, 3 refused", cobra.ExactArgs(1),
		func(ctx context.Context, a *asking, c *api.Client, cmd *cobra.Command, args []string) error {
			w, err := c.Why(ctx, args[0])
			if err != nil {
				return err
			}
			if err := a.print(cmd, w, func() string { return w.Text }); err != nil {
				return err
			}
			if !w.Allowed {
				return &exitError{code: exitRefused}
			}
			return nil
		})
}

func newDrain() *cobra.Command {
	var wait time.Duration
	cmd := ask("drain", "Take no new calls until the program is restarted, wait for those in progress", cobra.NoArgs,
		func(ctx context.Context, a *asking, c *api.Client, cmd *cobra.Command, _ []string) error {
			r, err := c.Drain(ctx, wait)
			if err != nil {
				return err
			}
			return a.print(cmd, r, r.Text)
		})
	cmd.Flags().DurationVar(&wait, "wait", 0, "how long to wait for the last call")
	return cmd
}
