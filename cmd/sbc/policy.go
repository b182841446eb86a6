package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	"github.com/spf13/cobra"

	"sallyport/policy"
	"sallyport/sbc"
	"sallyport/sbc/api"
	"sallyport/sbc/config"
)

// newPolicy is what there is to ask of the rules.
func newPolicy() *cobra.Command {
	cmd := &cobra.Command{Use: "policy", Short: "The order of checks, and what the rules would do with a message"}
	cmd.AddCommand(newPolicyOrder(), newPolicyTest())
	return cmd
}

func newPolicyOrder() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "order", Short: "The checks that every message goes through, in their fixed order; the first that decides is the reason", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a := asking{json: asJSON}
			return a.print(cmd, policy.Order, policy.OrderText)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func newPolicyTest() *cobra.Command {
	q := api.PolicyTest{}
	var file, configuration string
	try := func(cmd *cobra.Command, a *asking, ask func() (api.PolicyVerdict, error)) error {
		v, err := ask()
		if err != nil {
			return err
		}
		if err := a.print(cmd, v, func() string { return v.Text }); err != nil {
			return err
		}
		if !v.Allowed {
			return &exitError{code: exitRefused}
		}
		return nil
	}
	cmd := ask("test --source ADDRESS --message FILE", "Which rule would fire on a message: every check in turn; exit 0 allowed, 3 refused", cobra.NoArgs,
		func(ctx context.Context, a *asking, c *api.Client, cmd *cobra.Command, _ []string) error {
			return try(cmd, a, func() (api.PolicyVerdict, error) { return c.TestMessage(ctx, q) })
		})
	running := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var err error
		if q.Message, err = readMessage(cmd.InOrStdin(), file); err != nil {
			return &exitError{code: exitUsage, err: fmt.Errorf("%w\n  hint: --message names a file with one SIP message, as a capture or the log shows it; - is standard input", err)}
		}
		if configuration == "" {
			return running(cmd, args)
		}
		snap, report := load(config.Flags{Config: configuration})
		if snap == nil {
			return &exitError{code: exitUsage, err: report.Err()}
		}
		asJSON, _ := cmd.Flags().GetBool("json")
		if err := try(cmd, &asking{json: asJSON}, func() (api.PolicyVerdict, error) { return sbc.TryMessage(snap, q) }); err != nil {
			return err
		}
		return nil
	}
	f := cmd.Flags()
	f.StringVar(&q.Source, "source", "", "address that it comes from, with or without a port")
	f.StringVar(&file, "message", "", "file with the message as on the wire, or with plain line ends; - is standard input")
	f.StringVar(&q.Side, "side", "outside", "outside or inside")
	f.StringVar(&q.Realm, "realm", "phones", "phones or trunks")
	f.StringVar(&q.Transport, "transport", "udp", "udp, tcp or tls")
	f.StringVar(&configuration, "config", "", "ask the rules of this file instead of the running program")
	_ = cmd.MarkFlagRequired("source") // both flags exist
	_ = cmd.MarkFlagRequired("message")
	return cmd
}

// messageMost is more than any message that a gate reads.
const messageMost = 1 << 20

func readMessage(stdin io.Reader, file string) ([]byte, error) {
	from := stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		from = f
	}
	return io.ReadAll(io.LimitReader(from, messageMost))
}

// newGeo asks the country database.
func newGeo() *cobra.Command {
	cmd := &cobra.Command{Use: "geo", Short: "The country database"}
	var database, configuration string
	var asJSON bool
	lookup := &cobra.Command{
		Use: "lookup ADDRESS...", Short: "The country of addresses, as the rules see it", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if database == "" {
				snap, report := load(config.Flags{Config: configuration})
				if snap == nil {
					return &exitError{code: exitUsage, err: report.Err()}
				}
				if database = snap.Policy.Countries.Database; database == "" {
					return &exitError{code: exitUsage, err: fmt.Errorf("no country database\n  hint: name one: --database FILE, or policy.countries.database in the configuration")}
				}
			}
			return lookUpCountries(cmd, &asking{json: asJSON}, database, args)
		},
	}
	lookup.Flags().StringVar(&database, "database", "", "file of the database; else that of the configuration")
	lookup.Flags().StringVar(&configuration, "config", "", "configuration file")
	lookup.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.AddCommand(lookup)
	return cmd
}

// country is one answer of `geo lookup`.
type country struct {
	Address netip.Addr `json:"address"`
	Country string     `json:"country"` // "": unknown
	Note    string     `json:"note,omitempty"`
}

func lookUpCountries(cmd *cobra.Command, a *asking, path string, addresses []string) error {
	db, err := sbc.OpenCountries(path)
	if err != nil {
		return &exitError{code: exitUsage, err: err}
	}
	var list []country
	for _, s := range addresses {
		at, err := netip.ParseAddr(s)
		if err != nil {
			return &exitError{code: exitUsage, err: fmt.Errorf("%q is no address\n  hint: write addresses such as 198.51.100.7", s)}
		}
		c := country{Address: at, Country: db.Country(at).String()}
		if policy.NeverJudged(at) {
			c.Note = "private: never judged by country"
		}
		list = append(list, c)
	}
	old := sbc.CountriesWarning(path, db, time.Now())
	if old != "" {
		fmt.Fprintln(cmd.ErrOrStderr(), "warning: "+old)
	}
	return a.print(cmd, list, func() string {
		text := ""
		for _, c := range list {
			name := c.Country
			if name == "" {
				name = "unknown"
			}
			text += fmt.Sprintf("%-39s  %s", c.Address, name)
			if c.Note != "" {
				text += "  (" + c.Note + ")"
			}
			text += "\n"
		}
		return text + fmt.Sprintf("%s, %d ranges, made %s\n", db.Source(), db.Len(), db.Built().UTC().Format(time.DateOnly))
	})
}
