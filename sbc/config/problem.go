package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxProblems bounds a report: a file that is wrong from top to bottom is not listed line for line.
const maxProblems = 100

// Problem is one thing that is wrong, or doubtful, with the configuration.
type Problem struct {
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"` // from 1; 0: not in the file
	Col  int    `json:"column,omitempty"`
	Flag string `json:"flag,omitempty"` // "--outside": the value came from there, and File, Line, Col are empty
	Path string `json:"path,omitempty"` // "trunks[0].peers[1].address"
	What string `json:"what"`
	Hint string `json:"hint,omitempty"` // what to do
}

// String is the problem as it is printed: where, which key, what is wrong, and the hint on a line of its own.
func (p Problem) String() string {
	var b strings.Builder
	switch {
	case p.Flag != "":
		b.WriteString(p.Flag + ": ")
	case p.Line > 0:
		fmt.Fprintf(&b, "%s:%d:%d: ", p.File, p.Line, p.Col)
	case p.File != "":
		b.WriteString(p.File + ": ")
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.What)
	if p.Hint != "" {
		b.WriteString("\n  hint: " + p.Hint)
	}
	return b.String()
}

// Report is everything that was found: errors, which refuse the configuration, and warnings, which do not.
type Report struct {
	Errors   []Problem `json:"errors"`
	Warnings []Problem `json:"warnings"`
	Notes    []Problem `json:"notes"` // worth knowing although nobody wrote anything doubtful; `sbc check` prints them
	more     int       // errors beyond maxProblems
}

// newReport is an empty report whose lists are [] in JSON, never null.
func newReport() Report {
	return Report{Errors: []Problem{}, Warnings: []Problem{}, Notes: []Problem{}}
}

// OK reports whether there is no error.
func (r *Report) OK() bool { return len(r.Errors) == 0 }

// Err is nil if there is no error, else one error whose text lists all of them.
func (r *Report) Err() error {
	if r.OK() {
		return nil
	}
	return &InvalidError{Report: *r}
}

// InvalidError is a refused configuration; its text lists every error.
type InvalidError struct{ Report Report }

// Error lists the errors, one after another.
func (e *InvalidError) Error() string { return e.Report.list(e.Report.Errors, "") }

// String lists errors, then warnings.
func (r *Report) String() string {
	return lines(r.list(r.Errors, "error: "), r.list(r.Warnings, "warning: "))
}

// Full lists errors, warnings and notes, as `sbc check` does.
func (r *Report) Full() string { return lines(r.String(), r.list(r.Notes, "note: ")) }

func lines(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), "\n")
}

func (r *Report) list(problems []Problem, prefix string) string {
	out := make([]string, 0, len(problems)+1)
	for _, p := range problems {
		out = append(out, prefix+p.String())
	}
	if r.more > 0 && (prefix == "" || prefix == "error: ") {
		out = append(out, fmt.Sprintf("%sand %d more errors", prefix, r.more))
	}
	return strings.Join(out, "\n")
}

func (r *Report) fail(p Problem) {
	if len(r.Errors) >= maxProblems {
		r.more++
		return
	}
	r.Errors = append(r.Errors, p)
}

// warn notes a warning, once.
func (r *Report) warn(p Problem) {
	if len(r.Warnings) < maxProblems && !slices.Contains(r.Warnings, p) {
		r.Warnings = append(r.Warnings, p)
	}
}

func (r *Report) note(p Problem) {
	if len(r.Notes) < maxProblems && !slices.Contains(r.Notes, p) {
		r.Notes = append(r.Notes, p)
	}
}

// sort puts problems into the order of the file; those of flags come first.
func (r *Report) sort() {
	byPlace := func(a, b Problem) int { return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col)) }
	slices.SortStableFunc(r.Errors, byPlace)
	slices.SortStableFunc(r.Warnings, byPlace)
}

// valueError is what the value types answer to a text that they cannot read.
type valueError struct{ what, hint string }

func (e *valueError) Error() string { return e.what }

func badValue(hint, format string, args ...any) error {
	return &valueError{what: fmt.Sprintf(format, args...), hint: hint}
}
