package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"
)

// version is set by the linker.
var version = "dev"

// The exit codes: done, refused or failed, usage or configuration.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// exitError ends the program with a code. Its message has been printed if it is silent.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func execute(args []string, out, errs io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errs)
	cmd, err := root.ExecuteContextC(context.Background())
	if err == nil {
		return exitDone
	}
	e, own := errors.AsType[*exitError](err)
	if !own {
		fmt.Fprintln(errs, usageText(cmd, err))
		return exitUsage
	}
	if text := err.Error(); text != "" {
		fmt.Fprintln(errs, text)
	}
	return e.code
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "sbc",
		Short:         "Sallyport, a session border controller: the gate between a PBX and the Internet",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version,
	}
	root.SetVersionTemplate("sbc {{.Version}}\n")
	root.AddCommand(newRun(), newDemo(), newCheck(), newVersion(), newStatus(), newCalls(), newRegistrations(), newTrunks(), newPBX(), newWhy(),
		newBans(), newPolicy(), newRoute(), newGeo(), newReplay(), newLimits(), newRecord(), newCapture(), newReload(), newDrain(), newMedia())
	return taught(root)
}

func newVersion() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]string{"version": version, "go": runtime.Version()})
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "sbc "+version)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
