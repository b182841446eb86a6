package config

import (
	"bytes"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"
)

// marshal writes a document as a file that Parse reads back to the same document; defaults are written out.
func marshal(d *Document) ([]byte, error) {
	var out bytes.Buffer
	dumper, err := yaml.NewDumper(&out, yaml.WithFlowSimpleCollections(), yaml.WithLineWidth(-1))
	if err != nil {
		return nil, fmt.Errorf("configuration cannot be written: %w", err)
	}
	if err := dumper.Dump(d); err != nil {
		return nil, fmt.Errorf("configuration cannot be written: %w", err)
	}
	if err := dumper.Close(); err != nil {
		return nil, fmt.Errorf("configuration cannot be written: %w", err)
	}
	return out.Bytes(), nil
}

// document is the whole configuration as it could be written in a file. It is not to be changed.
func (s *Snapshot) document() *Document { return s.doc }

// String is the change in one line.
func (c Change) String() string {
	switch {
	case c.Old == "":
		return fmt.Sprintf("+ %s: %s (%s)", c.Path, c.New, c.Tag)
	case c.New == "":
		return fmt.Sprintf("- %s: %s (%s)", c.Path, c.Old, c.Tag)
	}
	return fmt.Sprintf("~ %s: %s → %s (%s)", c.Path, c.Old, c.New, c.Tag)
}

// render is a diff in lines, or "no change".
func render(changes []Change) string {
	if len(changes) == 0 {
		return "no change"
	}
	lines := make([]string, len(changes))
	for i, c := range changes {
		lines[i] = c.String()
	}
	return strings.Join(lines, "\n")
}
