package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"sallyport/sbc"
	"sallyport/sbc/api"
	"sallyport/sbc/config"
)

// newCheck checks a configuration without running it.
func newCheck() *cobra.Command {
	var flags config.Flags
	var asJSON, live bool
	var trial messageTrial
	cmd := &cobra.Command{
		Use: "check [FILE]", Short: "Check a configuration: every error and warning with file, line and what to do", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				flags.Config = args[0]
			}
			snap, report := load(flags)
			if snap != nil && live {
				lively(cmd.Context(), snap, sbc.ProbeRelay, &report)
				named(cmd.Context(), snap, sbc.LookUpNames, &report)
				housed(snap, running(cmd.Context(), snap) != "", openOnce, &report)
				ephemeral(snap, readSysctl, &report)
			}
			if trial.file != "" && snap != nil && report.OK() {
				return trial.run(cmd, snap, asJSON)
			}
			if err := printReport(cmd, &report, asJSON); err != nil {
				return err
			}
			if snap == nil || !report.OK() {
				return &exitError{code: exitUsage}
			}
			return nil
		},
	}
	flags.Bind(cmd.Flags())
	trial.bind(cmd)
	cmd.Flags().BoolVar(&live, "live", false, "try what this machine allows, too: its addresses and ports, which back end would carry media, and why not the other; and what names lead to")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printReport(cmd *cobra.Command, report *config.Report, asJSON bool) error {
	out := cmd.OutOrStdout()
	if asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(struct {
			OK       bool             `json:"ok"`
			Errors   []config.Problem `json:"errors"`
			Warnings []config.Problem `json:"warnings"`
			Notes    []config.Problem `json:"notes"`
		}{report.OK(), report.Errors, report.Warnings, report.Notes})
	}
	if text := report.Full(); text != "" {
		fmt.Fprintln(out, text)
	}
	if report.OK() {
		fmt.Fprintln(out, "the configuration is valid")
	}
	return nil
}

// lively tries what only the machine can answer: which back end would carry media. probe is sbc.ProbeRelay.
func lively(ctx context.Context, snap *config.Snapshot, probe func(*config.Snapshot) (backend, why string, err error), report *config.Report) {
	p := placed(snap, "media.backend")
	backend, why, err := probe(snap)
	switch {
	case err != nil:
		p.What, p.Hint = err.Error(), "change that, or write auto; "+whoseRights
		report.Errors = append(report.Errors, p)
	case why == "":
		p.What = "media would run on " + backend + "; epoll would do, too, with an open file for each port and more processor time"
		report.Notes = append(report.Notes, p)
	default:
		p.What, p.Hint = "media would run on "+backend+", not on steer: "+why, whoseRights
		report.Notes = append(report.Notes, p)
	}
	if now := running(ctx, snap); now != "" {
		p.What, p.Hint = now, ""
		report.Notes = append(report.Notes, p)
	}
}

// whoseRights says what the trial was made with.
const whoseRights = "this was tried with the rights of this command; a media process has those of sbc-media.service, or of whoever starts sbc run"

// running says what the program that is running carries media by; "" if none is.
func running(ctx context.Context, snap *config.Snapshot) string {
	c, err := api.Dial(ctx, api.Places(snap.Socket, os.Getenv))
	if err != nil {
		return ""
	}
	defer c.Close()
	r, err := c.Media(ctx)
	if err != nil {
		return ""
	}
	text := "the sbc that is running has it on " + r.Where()
	if r.NotSteer != "" {
		text += "; not on steer: " + r.NotSteer
	}
	return text
}
