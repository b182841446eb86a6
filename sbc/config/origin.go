package config

import (
	"strconv"
	"strings"
)

// origin remembers where each value came from, by its path, so that a check made long after the decoding still names the
// line or the flag.
type origin struct {
	file  string
	at    map[string]position
	flags map[string]string // path → flag
}

type position struct{ line, col int }

func newOrigin(file string) *origin {
	return &origin{file: file, at: map[string]position{}, flags: map[string]string{}}
}

// given reports whether the file or a flag gave this very key.
func (o *origin) given(path string) bool {
	if _, ok := o.flags[path]; ok {
		return true
	}
	_, ok := o.at[path]
	return ok
}

// fromFlag says that a flag gave the value of path, and everything below it.
func (o *origin) fromFlag(path, flag string) {
	for p := range o.at {
		if within(p, path) {
			delete(o.at, p)
		}
	}
	for p := range o.flags {
		if within(p, path) {
			delete(o.flags, p)
		}
	}
	o.flags[path] = flag
}

// problem is a problem at a path, placed where that path, or the nearest key above it, was written.
func (o *origin) problem(path, what, hint string) Problem {
	p := Problem{Path: path, What: what, Hint: hint, File: o.file}
	for at := path; ; at = parent(at) {
		if flag, ok := o.flags[at]; ok {
			p.Flag, p.File = flag, ""
			return p
		}
		if pos, ok := o.at[at]; ok {
			p.Line, p.Col = pos.line, pos.col
			return p
		}
		if at == "" {
			return p
		}
	}
}

// parent cuts the last step off a path: "a.b[0]" → "a.b" → "a" → "".
func parent(path string) string {
	return path[:max(strings.LastIndexAny(path, ".["), 0)]
}

func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// within reports whether path is above or lies below it.
func within(path, above string) bool {
	rest, ok := strings.CutPrefix(path, above)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}
