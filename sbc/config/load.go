package config

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// maxFile bounds the file: the largest deployment fits many times.
const maxFile = 1 << 20

// Load reads a file and puts the flags over it. With an empty path no file is read. The snapshot is nil if and only if
// the report holds an error; the report lists every error, not the first alone.
func Load(path string, flags Flags) (*Snapshot, Report) {
	if path == "" {
		return Parse("", nil, flags)
	}
	data, err := read(path)
	if err != nil {
		report := newReport()
		report.fail(Problem{File: path, What: err.Error(), Hint: missingHint(err, flags)})
		return nil, report
	}
	return Parse(path, data, flags)
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, unwrapPath(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, unwrapPath(err)
	}
	return data, nil
}

// unwrapPath cuts the path from a file error: the problem names it already.
func unwrapPath(err error) error {
	if p, ok := errors.AsType[*os.PathError](err); ok {
		return p.Err
	}
	return err
}

func missingHint(err error, flags Flags) string {
	switch {
	case os.IsPermission(err):
		return "let the user that runs sbc read it: chown root:sbc, chmod 0640"
	case os.IsNotExist(err) && flags.Config == "":
		return "write it (deploy/sbc.yaml is an example), name another with --config, or give --outside, --inside, --pbx, --domain, --trunk"
	}
	return "name the configuration file"
}

// Parse is Load for bytes in memory; name stands for the file in messages.
func Parse(name string, data []byte, flags Flags) (*Snapshot, Report) {
	return parse(name, data, flags, machine{})
}

func parse(name string, data []byte, flags Flags, with disk) (*Snapshot, Report) {
	report := newReport()
	doc, from := Default(), newOrigin(name)
	if len(data) > maxFile {
		report.fail(Problem{File: name, What: fmt.Sprintf("larger than %s", Size(maxFile)), Hint: "is this the configuration file?"})
		return nil, report
	}
	if !decode(data, doc, from, &report) {
		return nil, report
	}
	flags.apply(doc, from, &report)
	settle(doc, from)
	validate(doc, from, &report, with)
	report.sort()
	if !report.OK() {
		return nil, report
	}
	return build(name, doc, from), report
}
