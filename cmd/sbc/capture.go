package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"sallyport/sbc/api"
	"sallyport/sbc/config"
)

// newCapture writes what happens from now on.
func newCapture() *cobra.Command {
	q := api.CaptureRequest{}
	var most string
	cmd := ask("capture CALL|ADDRESS|AOR [FILE]", "Write the SIP and RTP of a call, an address or a phone to a pcapng file, from now on; - is standard output", cobra.RangeArgs(1, 2),
		func(ctx context.Context, a *asking, c *api.Client, cmd *cobra.Command, args []string) error {
			var size config.Size
			if err := size.UnmarshalText([]byte(most)); err != nil {
				return &exitError{code: exitUsage, err: fmt.Errorf("--max: %w", err)}
			}
			q.Subject, q.Max = args[0], int64(size)
			to := &captureFile{name: "sbc-capture-" + time.Now().Format("20060102-150405") + ".pcapng", out: cmd.OutOrStdout()}
			if len(args) == 2 {
				to.name = args[1]
			}
			return takeCapture(ctx, a, c, cmd, q, to)
		})
	f := cmd.Flags()
	f.DurationVar(&q.For, "for", 10*time.Minute, "end after this time")
	f.StringVar(&most, "max", "100MiB", "end when the file has this size")
	f.BoolVar(&q.Media, "media", true, "RTP and RTCP, too; --media=false: SIP alone")
	f.BoolVar(&q.Clear, "clear", false, "media without what SRTP does to it: what was said can be heard")
	return cmd
}

// takeCapture captures until it is interrupted, or the program ends it.
func takeCapture(ctx context.Context, a *asking, c *api.Client, cmd *cobra.Command, q api.CaptureRequest, to *captureFile) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM) // the interrupt is in it already
	defer stop()
	stream, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	ended, err := c.Capture(stream, q, to, func(begun api.Capture) error {
		if err := to.open(); err != nil {
			return err
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "capturing %s %s to %s: Ctrl-C ends it\n", begun.What, q.Subject, to)
		context.AfterFunc(ctx, func() {
			// What is on its way is still written; a program that does not answer is not waited for.
			last, done := context.WithTimeout(stream, stopWithin)
			defer done()
			if err := c.StopCapture(last, begun.ID); err != nil {
				cancel()
				return
			}
			time.AfterFunc(stopWithin, cancel)
		})
		return nil
	})
	if err = errors.Join(err, to.close()); err != nil {
		return err
	}
	if to.name == "-" { // its own way is taken
		_, err := fmt.Fprint(cmd.ErrOrStderr(), ended.Text(to.String()))
		return err
	}
	return a.print(cmd, ended, func() string { return ended.Text(to.String()) })
}

// stopWithin is how long the end of a capture may take.
const stopWithin = 5 * time.Second

// captureFile is where a capture goes to: a file that only its owner reads.
type captureFile struct {
	name string
	out  io.Writer // standard output
	to   io.Writer
	file *os.File
}

func (f *captureFile) open() (err error) {
	if f.name == "-" {
		f.to = f.out
		return nil
	}
	if f.file, err = os.OpenFile(f.name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600); err != nil {
		return err
	}
	f.to = f.file
	return nil
}

// Write implements io.Writer.
func (f *captureFile) Write(p []byte) (int, error) { return f.to.Write(p) }

func (f *captureFile) close() error {
	if f.file == nil {
		return nil
	}
	return f.file.Close()
}

// String names it for people.
func (f *captureFile) String() string {
	if f.name == "-" {
		return "standard output"
	}
	return f.name
}
