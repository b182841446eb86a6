package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"sallyport/sbc/config"
)

// newCheck checks a configuration without running it.
func newCheck() *cobra.Command {
	var flags config.Flags
	var asJSON bool
	cmd := &cobra.Command{
		Use: "check [FILE]", Short: "Check a configuration: every error and warning with file, line and what to do", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				flags.Config = args[0]
			}
			snap, report := load(flags)
			if err := printReport(cmd, &report, asJSON); err != nil {
				return err
			}
			if snap == nil {
				return &exitError{code: exitUsage}
			}
			return nil
		},
	}
	flags.Bind(cmd.Flags())
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
