package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"sallyport/sbc"
	"sallyport/sbc/api"
	"sallyport/sbc/config"
)

// capture is where a verb reads messages from: a file, or the flight recorder of the running program.
type capture struct {
	asking
	file string
	temp string // "": none to be removed
}

// bind adds the flags of a verb that reads a capture.
func (c *capture) bind(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.socket, "socket", "", "admin socket of the running program, for its recorder (also $SBC_SOCKET)")
	cmd.Flags().BoolVar(&c.json, "json", false, "print JSON")
}

// fetch has the running program write its recorder to a file, if no file was named.
func (c *capture) fetch(ctx context.Context) error {
	if c.file != "" && c.file != "-" {
		info, err := os.Stat(c.file)
		if err == nil && !info.Mode().IsRegular() {
			err = fmt.Errorf("%s is no regular file\n  hint: a capture is read several times: save it to a file first", c.file)
		}
		return err
	}
	f, err := os.CreateTemp("", "sbc-recorder-*.pcapng") // mode 0600
	if err != nil {
		return err
	}
	c.file, c.temp = f.Name(), f.Name()
	return errors.Join(record(ctx, c.socket, f), f.Close())
}

// done removes what fetch made.
func (c *capture) done() {
	if c.temp != "" {
		_ = os.Remove(c.temp) // in the directory for what need not stay
	}
}

// open opens the capture anew.
func (c *capture) open() (io.ReadCloser, error) { return os.Open(c.file) }

// told names the file in an error.
func (c *capture) told(err error) error {
	if c.temp != "" {
		return fmt.Errorf("the flight recorder: %w", err)
	}
	return fmt.Errorf("%s: %w", c.file, err)
}

// record writes the flight recorder of the running program.
func record(ctx context.Context, socket string, to io.Writer) error {
	c, err := api.Dial(ctx, api.Places(socket, os.Getenv))
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Record(ctx, to)
}

// configured reads the configuration that a verb without a running program works by.
func configured(file string) (*config.Snapshot, error) {
	snap, report := load(config.Flags{Config: file})
	if snap == nil {
		return nil, report.Err()
	}
	return snap, nil
}

func newReplay() *cobra.Command {
	var c capture
	var file, against string
	cmd := &cobra.Command{
		Use:   "replay CAPTURE",
		Short: "Run captured SIP through the rules of a configuration, and tell whom they refuse and why; exit 1 if --config refuses whom --against does not",
		Long: "Run captured SIP through the rules of a configuration, in the capture's own time.\n\n" +
			"CAPTURE is a pcap or pcapng file (tcpdump -i any -s 0 -w FILE), or -, the flight recorder of the running program.\n" +
			"With --against both configurations are run: who would newly be refused, by which rule, and who would newly pass.\n" +
			"Nothing is changed and nobody is asked but for -.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c.file = args[0]
			return replay(cmd, &c, file, against)
		},
	}
	c.bind(cmd)
	cmd.Flags().StringVar(&file, "config", "", "configuration to run it through; default: the one that sbc run reads")
	cmd.Flags().StringVar(&against, "against", "", "configuration to compare with")
	return cmd
}

// replay fails with 2 whatever is wrong: 1 is the answer that somebody is newly refused.
func replay(cmd *cobra.Command, c *capture, file, against string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	next, err := configured(file)
	if err != nil {
		return &exitError{code: exitUsage, err: err}
	}
	defer c.done()
	if err := c.fetch(ctx); err != nil {
		return &exitError{code: exitUsage, err: err}
	}
	if against == "" {
		report, err := sbc.Replay(ctx, c.open, next)
		if err != nil {
			return &exitError{code: exitUsage, err: c.told(err)}
		}
		return c.print(cmd, report, func() string { return report.Text(time.Local) })
	}
	old, err := configured(against)
	if err != nil {
		return &exitError{code: exitUsage, err: err}
	}
	difference, err := sbc.ReplayAgainst(ctx, c.open, old, next)
	if err != nil {
		return &exitError{code: exitUsage, err: c.told(err)}
	}
	err = c.print(cmd, difference, func() string { return difference.Text(time.Local) })
	if err == nil && len(difference.Blocked) > 0 {
		err = &exitError{code: exitFailed}
	}
	return err
}

// inUse is the file that the running program has its configuration from; "": none runs, or it has none.
func inUse(ctx context.Context, socket string) string {
	c, err := api.Dial(ctx, api.Places(socket, os.Getenv))
	if err != nil {
		return ""
	}
	defer c.Close()
	s, err := c.Status(ctx)
	if err != nil {
		return ""
	}
	return s.Config
}

func newLimits() *cobra.Command {
	cmd := &cobra.Command{Use: "limits", Short: "Rate limits learned from recorded traffic"}
	var c capture
	var file string
	percentile, margin := 99.0, 50.0
	suggest := &cobra.Command{
		Use:   "suggest [CAPTURE]",
		Short: "Propose rate limits for phones from a capture, or from what the running program recorded, as YAML to paste",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				c.file = args[0]
			}
			if percentile < 1 || percentile > 100 || margin < 0 || margin > 10_000 {
				return &exitError{code: exitUsage, err: errors.New("--percentile is 1 to 100, --margin 0 to 10000 percent")}
			}
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
			defer stop()
			if file == "" && c.file == "" {
				file = inUse(ctx, c.socket)
			}
			snap, err := configured(file)
			if err != nil {
				return &exitError{code: exitUsage, err: err}
			}
			defer c.done()
			if err := c.fetch(ctx); err != nil {
				return &exitError{code: exitFailed, err: err}
			}
			x, err := sbc.SuggestLimits(ctx, c.open, snap, percentile, margin)
			if err != nil {
				return &exitError{code: exitFailed, err: c.told(err)}
			}
			return c.print(cmd, x, func() string { return x.Text(time.Local) })
		},
	}
	c.bind(suggest)
	suggest.Flags().StringVar(&file, "config", "", "configuration that says what is a listener and a known peer; default: that of the running program, of a capture the one that sbc run reads")
	suggest.Flags().Float64Var(&percentile, "percentile", percentile, "how many percent of the busy minutes of all phones the limit itself lets pass")
	suggest.Flags().Float64Var(&margin, "margin", margin, "percent that is added")
	cmd.AddCommand(suggest)
	return cmd
}

func newRecord() *cobra.Command {
	var socket string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "record FILE",
		Short: "Write what the flight recorder of the running program holds to a pcapng file; - is standard output",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
			defer stop()
			if args[0] == "-" {
				if err := record(ctx, socket, cmd.OutOrStdout()); err != nil {
					return &exitError{code: exitFailed, err: err}
				}
				return nil
			}
			size, err := recordTo(ctx, socket, args[0])
			if err != nil {
				return &exitError{code: exitFailed, err: err}
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]any{"file": args[0], "bytes": size})
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %d bytes\n", args[0], size)
			return err
		},
	}
	cmd.Flags().StringVar(&socket, "socket", "", "admin socket of the running program (also $SBC_SOCKET)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// recordTo writes the recorder to a file that only its owner reads; a failed try leaves nothing, and what was there.
func recordTo(ctx context.Context, socket, name string) (size int64, err error) {
	f, err := os.CreateTemp(filepath.Dir(name), ".sbc-record-*") // mode 0600
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if err = record(ctx, socket, f); err == nil {
		size, err = f.Seek(0, io.SeekCurrent)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return 0, err
	}
	return size, os.Rename(f.Name(), name)
}
