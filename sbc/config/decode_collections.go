package config

import (
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// mapping decodes a section: known keys only, each once.
func (d *decoder) mapping(path string, n *yaml.Node, v reflect.Value) {
	open, isOpen := v.Addr().Interface().(clearer)
	if isNull(n) {
		if isOpen {
			d.fail(path, n, "has no value", "write {} to open nothing, or leave the key out for its default")
		}
		return // a section whose keys are all commented out keeps its defaults
	}
	known := fieldsOf(v.Type())
	if n.Kind != yaml.MappingNode {
		hint := "write its keys below it, indented"
		if _, ok := known["address"]; ok && n.Kind == yaml.ScalarNode {
			hint = "write { address: " + strconv.Quote(n.Value) + " }"
		}
		d.fail(path, n, "wants a mapping of keys, not "+kindName(n), hint)
		return
	}
	if isOpen {
		open.clear()
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if !d.keyIsPlain(path, key, seen) {
			continue
		}
		at := join(path, key.Value)
		if f, ok := known[key.Value]; ok {
			d.value(at, value, v.Field(f.index), f.tag)
			continue
		}
		d.unknown(at, key, known)
	}
}

// keyIsPlain refuses keys that are no plain words, and repeated ones.
func (d *decoder) keyIsPlain(path string, key *yaml.Node, seen map[string]bool) bool {
	switch {
	case key.Kind != yaml.ScalarNode:
		d.fail(path, key, "a key must be a word, not "+kindName(key), "")
		return false
	case key.Value == "<<" && key.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) == 0:
		d.fail(path, key, "merge keys (<<) are not accepted", "write the keys out")
		return false
	case seen[key.Value]:
		d.fail(join(path, key.Value), key, "the key stands here twice", "keep one of the two")
		return false
	}
	seen[key.Value] = true
	return true
}

// unknown says why a key is refused: not built yet, or misspelt.
func (d *decoder) unknown(path string, key *yaml.Node, known map[string]field) {
	if what, ok := notYet(path); ok {
		d.fail(path, key, "not available in this version", what)
		return
	}
	what := "unknown key " + strconv.Quote(key.Value)
	if len(d.report.Errors) >= maxProblems {
		d.fail(path, key, what, "") // only counted: no need to look for what was meant
		return
	}
	names := make([]string, 0, len(known))
	for name := range known {
		names = append(names, name)
	}
	if near := nearest(key.Value, names); near != "" {
		d.fail(path, key, what, "did you mean "+strconv.Quote(near)+"?")
		return
	}
	d.fail(path, key, what, "known here: "+sortedList(names))
}

// list decodes a list, replacing the default as a whole.
func (d *decoder) list(path string, n *yaml.Node, v reflect.Value, tag reflect.StructTag) {
	if _, ok := v.Interface().(oneOrMany); ok && d.single(path, n, v, tag) {
		return
	}
	if isNull(n) {
		d.fail(path, n, "has no value", "write [] for none, or leave the key out for its default")
		return
	}
	if n.Kind != yaml.SequenceNode {
		d.fail(path, n, "wants a list, not "+kindName(n), "write [ ... ], or one element a line behind a dash")
		return
	}
	size := min(len(n.Content), maxNodes)
	v.Set(reflect.MakeSlice(v.Type(), size, size))
	for i := range size {
		if d.full {
			return
		}
		d.element(index(path, i), n.Content[i], v.Index(i), tag)
	}
}

// single decodes one value that stands for a list of one: a scalar, or a mapping where the elements are mappings.
func (d *decoder) single(path string, n *yaml.Node, v reflect.Value, tag reflect.StructTag) bool {
	section := isSection(v.Type().Elem())
	if isNull(n) || n.Kind != yaml.ScalarNode && (n.Kind != yaml.MappingNode || !section) {
		return false
	}
	v.Set(reflect.MakeSlice(v.Type(), 1, 1))
	if n.Value == "" && !section {
		v.SetLen(0) // "" is none
		return true
	}
	d.element(index(path, 0), n, v.Index(0), tag)
	return true
}

func (d *decoder) element(path string, n *yaml.Node, v reflect.Value, tag reflect.StructTag) {
	if e, ok := v.Addr().Interface().(defaulter); ok {
		e.setDefaults()
	}
	if e, ok := v.Addr().Interface().(*TrunkEntry); ok {
		d.preset(n, reflect.ValueOf(e).Elem())
	}
	if isNull(n) {
		d.fail(path, n, "an element of the list has no value", "remove the dash, or write the element")
		return
	}
	d.value(path, n, v, tag)
}

// table decodes a mapping whose keys are names of the administrator's: methods.
func (d *decoder) table(path string, n *yaml.Node, v reflect.Value, tag reflect.StructTag) {
	if n.Kind != yaml.MappingNode {
		d.fail(path, n, "wants a mapping, not "+kindName(n), "write { name: value, ... }")
		return
	}
	v.Set(reflect.MakeMapWithSize(v.Type(), min(len(n.Content)/2, maxNodes)))
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content) && !d.full; i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if !d.keyIsPlain(path, key, seen) {
			continue
		}
		elem := reflect.New(v.Type().Elem()).Elem()
		d.value(join(path, key.Value), value, elem, tag)
		v.SetMapIndex(reflect.ValueOf(key.Value), elem)
	}
}

// field is a key of a section.
type field struct {
	index int
	tag   reflect.StructTag
}

// fieldsOf maps the keys of a section to its fields.
func fieldsOf(t reflect.Type) map[string]field {
	out := make(map[string]field, t.NumField())
	for i := range t.NumField() {
		f := t.Field(i)
		out[keyOf(f.Tag)] = field{index: i, tag: f.Tag}
	}
	return out
}

// keyOf is the key in a yaml tag.
func keyOf(tag reflect.StructTag) string {
	name, _, _ := strings.Cut(tag.Get("yaml"), ",")
	return name
}
