package config

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// maxNodes bounds what aliases can blow a small file up to.
const maxNodes = 200_000

// What a type may do beyond the ordinary:
type (
	oneOrMany  interface{ acceptsOne() }                  // a list: one value, or one mapping, may stand for a list of one
	defaulter  interface{ setDefaults() }                 // an element of a list: its own defaults
	clearer    interface{ clear() }                       // a mapping that lists exactly what is open
	scalarForm interface{ fromScalar(text []byte) error } // a mapping with a short form
)

// decoder walks the YAML tree and fills a document in place. It goes on after an error, so that one run finds all.
type decoder struct {
	report *Report
	from   *origin
	nodes  int
	full   bool // maxNodes was reached and said
}

// decode reads a document over the defaults that doc holds. It reports whether there was a document to judge.
func decode(data []byte, doc *Document, from *origin, report *Report) bool {
	d := &decoder{report: report, from: from}
	root, err := parseTree(data)
	if err != nil {
		report.fail(syntaxProblem(from.file, data, err))
		return false
	}
	if root == nil {
		return true // an empty file
	}
	d.value("", root, reflect.ValueOf(doc).Elem(), "")
	return root.Kind == yaml.MappingNode
}

// parseTree parses one document; nil for a file without any.
func parseTree(data []byte) (*yaml.Node, error) {
	var docs []yaml.Node
	if err := yaml.Load(data, &docs, yaml.WithAllDocuments()); err != nil {
		return nil, err
	}
	switch {
	case len(docs) > 1:
		return nil, badValue("remove the --- lines", "the file holds %d documents", len(docs))
	case len(docs) == 0:
		return nil, nil
	}
	n := &docs[0]
	if n.Kind == yaml.DocumentNode {
		if len(n.Content) == 0 {
			return nil, nil
		}
		n = n.Content[0]
	}
	if isNull(n) {
		return nil, nil
	}
	return n, nil
}

// syntaxProblem turns a parser's error into a problem with its place.
func syntaxProblem(file string, data []byte, err error) Problem {
	p := Problem{File: file, What: err.Error(), Hint: "look at this line and the one before it: a blank after each colon, equal indentation, quotes that close"}
	var bad *valueError
	if errors.As(err, &bad) {
		p.Hint = bad.hint
		return p
	}
	var one *yaml.LoadError
	if many := (*yaml.LoadErrors)(nil); errors.As(err, &many) && len(many.Errors) > 0 {
		one = many.Errors[0]
	} else {
		errors.As(err, &one)
	}
	if one != nil {
		p.What = "not YAML: " + one.Message
		p.Line, p.Col = max(one.Mark.Line, 1), max(one.Mark.Column, 1)
		if strings.Contains(one.Message, "unexpected end of stream") {
			p.Hint = "a quote that was opened further up is never closed"
		}
		if indentedByTab(data, p.Line) {
			p.What, p.Hint = "not YAML: the line is indented by a tab", "indent by blanks: YAML takes no tabs for that"
		}
	}
	return p
}

// indentedByTab reports whether a tab is among what a line begins with, counted from 1.
func indentedByTab(data []byte, line int) bool {
	n := 0
	for text := range bytes.Lines(data) {
		if n++; n == line {
			return bytes.ContainsRune(text[:len(text)-len(bytes.TrimLeft(text, " \t"))], '\t')
		}
	}
	return false
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

func (d *decoder) fail(path string, n *yaml.Node, what, hint string) {
	d.report.fail(Problem{File: d.from.file, Line: n.Line, Col: n.Column, Path: path, What: what, Hint: hint})
}

// value decodes one node into one field. tag is the field's struct tag; it serves the elements of a list as well.
func (d *decoder) value(path string, n *yaml.Node, v reflect.Value, tag reflect.StructTag) {
	if d.nodes++; d.nodes > maxNodes {
		if !d.full {
			d.full = true
			d.fail(path, n, "the file is too large once its aliases are followed", "write fewer aliases")
		}
		return
	}
	d.from.at[path] = position{n.Line, n.Column}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Style&yaml.TaggedStyle != 0 {
		d.fail(path, n, "type tags such as "+n.Tag+" are not accepted", "remove the tag")
		return
	}
	ptr := v.Addr().Interface()
	if u, ok := ptr.(encoding.TextUnmarshaler); ok {
		d.text(path, n, u.UnmarshalText)
		return
	}
	if s, ok := ptr.(scalarForm); ok && n.Kind == yaml.ScalarNode && !isNull(n) {
		d.text(path, n, s.fromScalar)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.mapping(path, n, v)
	case reflect.Slice:
		d.list(path, n, v, tag)
	case reflect.Map:
		d.table(path, n, v, tag)
	default:
		d.scalar(path, n, v, tag)
	}
}

// text decodes a scalar by its own type.
func (d *decoder) text(path string, n *yaml.Node, read func([]byte) error) {
	if !d.isScalar(path, n) {
		return
	}
	if err := read([]byte(n.Value)); err != nil {
		var bad *valueError
		if errors.As(err, &bad) {
			d.fail(path, n, bad.what, bad.hint)
			return
		}
		d.fail(path, n, err.Error(), "")
	}
}

func (d *decoder) isScalar(path string, n *yaml.Node) bool {
	switch {
	case n.Kind != yaml.ScalarNode:
		d.fail(path, n, "wants one value, not "+kindName(n), "")
		return false
	case isNull(n):
		d.fail(path, n, "has no value", "write a value, or leave the key out for its default")
		return false
	}
	return true
}

func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	default:
		return fmt.Sprintf("%q", n.Value)
	}
}

var canonicalInt = regexp.MustCompile(`^(0|-?[1-9][0-9]*)$`)

// scalar decodes text, words, numbers and booleans. Text stays as it is written: +4930123 and 0030 are no numbers.
func (d *decoder) scalar(path string, n *yaml.Node, v reflect.Value, tag reflect.StructTag) {
	if !d.isScalar(path, n) {
		return
	}
	switch v.Kind() {
	case reflect.String:
		d.word(path, n, v, tag)
	case reflect.Bool:
		if n.Value != "true" && n.Value != "false" {
			d.fail(path, n, kindName(n)+" is neither true nor false", "write true or false")
			return
		}
		v.SetBool(n.Value == "true")
	default:
		d.number(path, n, v, tag)
	}
}

func (d *decoder) word(path string, n *yaml.Node, v reflect.Value, tag reflect.StructTag) {
	if words := tag.Get("oneof"); words != "" && !contains(words, n.Value) {
		hint := "write " + orList(strings.Split(words, "|"))
		if contains(tag.Get("later"), n.Value) {
			d.fail(path, n, kindName(n)+" is not available in this version", hint)
			return
		}
		d.fail(path, n, kindName(n)+" is not a possible value", hint)
		return
	}
	v.SetString(n.Value)
}

func (d *decoder) number(path string, n *yaml.Node, v reflect.Value, tag reflect.StructTag) {
	low, high, _ := strings.Cut(tag.Get("bounds"), "..")
	hint := "write a whole number from " + low + " to " + high
	x, err := strconv.ParseInt(n.Value, 10, 64)
	if !canonicalInt.MatchString(n.Value) {
		d.fail(path, n, kindName(n)+" is not a whole number", hint)
		return
	}
	lowest, _ := strconv.ParseInt(low, 10, 64)
	highest, _ := strconv.ParseInt(high, 10, 64)
	if err != nil || x < lowest || x > highest {
		d.fail(path, n, n.Value+" is out of range", hint)
		return
	}
	if v.CanUint() {
		v.SetUint(uint64(x))
		return
	}
	v.SetInt(x)
}

func contains(words, word string) bool {
	for w := range strings.SplitSeq(words, "|") {
		if w == word && w != "" {
			return true
		}
	}
	return false
}

func orList(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}
