package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"sallyport/sbc"
	"sallyport/sbc/api"
)

// newMedia shows the relay; the process itself is a verb below it.
func newMedia() *cobra.Command {
	cmd := ask("media", "The relay: what carries the audio, its ports, what it rejected; serve: be the media process", cobra.NoArgs,
		func(ctx context.Context, a *asking, c *api.Client, cmd *cobra.Command, _ []string) error {
			r, err := c.Media(ctx)
			if err != nil {
				return err
			}
			return a.print(cmd, r, r.Text)
		})
	cmd.AddCommand(newMediaServe())
	return cmd
}

// newMediaServe is the media process.
func newMediaServe() *cobra.Command {
	var o sbc.MediaProcess
	cmd := &cobra.Command{
		Use: "serve", Short: "Carry the audio of calls for sbc run, in a process of its own", Args: cobra.NoArgs,
		Long: "Carry the audio of calls for sbc run, in a process of its own, so that audio goes on while sbc run restarts.\n" +
			"It learns its ports from sbc run, which starts it where no service manager does.",
		RunE: func(cmd *cobra.Command, _ []string) error { return serveMedia(cmd, o) },
	}
	cmd.Flags().StringVar(&o.Socket, "socket", "", "socket `path` for sbc run; default: media.sock in the runtime directory")
	cmd.Flags().BoolVar(&o.Follow, "follow", false, "end once sbc run is gone and no call is left")
	cmd.Flags().StringVar(&o.Backend, "backend", "auto", "back `end` where media.backend is auto: auto, epoll or steer")
	_ = cmd.Flags().MarkHidden("follow") // it fails for a flag that does not exist
	return cmd
}

func serveMedia(cmd *cobra.Command, o sbc.MediaProcess) error {
	o.Build = version
	o.Say = func(text string) { fmt.Fprintln(cmd.ErrOrStderr(), text) }
	if o.Socket == "" {
		var err error
		if o.Socket, _, err = mediaSocket(api.Places("", os.Getenv)); err != nil {
			return &exitError{code: exitUsage, err: err}
		}
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	err := sbc.ServeMedia(ctx, o)
	switch {
	case errors.Is(err, sbc.ErrBackend):
		return &exitError{code: exitUsage, err: fmt.Errorf("--backend: %w", err)}
	case err != nil:
		return &exitError{code: exitFailed, err: err}
	}
	return nil
}

// relayOf is the relay that sbc run uses: in a process of its own, beside the admin socket. The media process of another
// instance is not asked for: an *api.InUseError says that there is one.
func relayOf(ctx context.Context, named string, log *zap.Logger) (sbc.Relay, error) {
	socket, place, err := mediaSocket(api.Places(named, os.Getenv))
	program, programErr := os.Executable()
	if err := errors.Join(err, programErr); err != nil {
		return sbc.NewRelayHere(log, err), nil
	}
	if _, err := api.Dial(ctx, []string{place}); err == nil {
		return nil, &api.InUseError{Path: place}
	}
	return sbc.NewRelay(sbc.RelayOptions{
		Socket: socket, Version: version, Log: log,
		Program: program, Argv0: os.Args[0], Arguments: []string{"media", "serve", "--follow", "--socket", socket},
	}), nil
}

// mediaSocket is the place of the media process's socket: beside the admin socket, in the first directory that can be
// written. An admin socket of another name has a media process of its own.
func mediaSocket(places []string) (socket, place string, err error) {
	var errs []error
	for _, place = range places {
		dir, name := filepath.Split(place)
		err := os.MkdirAll(filepath.Clean(dir), 0o750)
		if err == nil {
			err = unix.Access(filepath.Clean(dir), unix.W_OK|unix.X_OK)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", filepath.Clean(dir), err))
			continue
		}
		if name == "sbc.sock" {
			return filepath.Join(dir, "media.sock"), place, nil
		}
		return place + ".media", place, nil
	}
	return "", "", fmt.Errorf("no place for the media process's socket: %w\n  hint: make a runtime directory for the user that runs sbc", errors.Join(errs...))
}
