package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"sallyport/sbc"
	"sallyport/sbc/config"
)

// messageTrial is what `check --message` is asked.
type messageTrial struct{ file, from, to string }

func (m *messageTrial) bind(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&m.file, "message", "", "show what the message of a file becomes on the other side, header by header; - is standard input")
	f.StringVar(&m.from, "from", "", "who sends it: an address, a trunk's name, pbx or phone; default: guessed by its Via")
	f.StringVar(&m.to, "to", "", "who gets what the PBX sends: a trunk's name, or a phone's user; default: as it is routed")
}

// run shows what becomes of the message. A configuration that is wrong has been told before.
func (m *messageTrial) run(cmd *cobra.Command, snap *config.Snapshot, asJSON bool) error {
	text, err := readMessage(cmd.InOrStdin(), m.file)
	if err != nil {
		return &exitError{code: exitUsage, err: fmt.Errorf("%w\n  hint: name a file with one SIP message, or - for standard input", err)}
	}
	t, err := sbc.Translate(snap, sbc.Translation{Message: text, From: m.from, To: m.to})
	if err != nil {
		return &exitError{code: exitUsage, err: err}
	}
	a := asking{json: asJSON}
	if err := a.print(cmd, t, t.Text); err != nil {
		return err
	}
	if t.Refused != "" {
		return &exitError{code: exitFailed}
	}
	return nil
}
