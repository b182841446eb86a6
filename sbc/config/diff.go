package config

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Change is one key that differs between two configurations.
type Change struct {
	Path string `json:"path"` // elements of lists by their name: "trunks[itsp].ring_timeout"
	Old  string `json:"old"`  // "" where the element is new
	New  string `json:"new"`  // "" where it is gone
	Tag  string `json:"tag"`  // when it counts: live, new calls, listener, restart
}

// Diff lists what differs, in the order of the file. It reads the struct tags and compares nothing by hand: a new key is
// in it from the day it stands in the Document.
func Diff(old, new *Snapshot) []Change {
	var out []Change
	diffStruct("", "", reflect.ValueOf(old.doc).Elem(), reflect.ValueOf(new.doc).Elem(), &out)
	return out
}

func diffStruct(path, tag string, a, b reflect.Value, out *[]Change) {
	for i := range a.NumField() {
		f := a.Type().Field(i)
		t := f.Tag.Get("reload")
		if t == "" {
			t = tag
		}
		diffValue(join(path, keyOf(f.Tag)), t, f.Tag.Get("key"), a.Field(i), b.Field(i), out)
	}
}

func diffValue(path, tag, key string, a, b reflect.Value, out *[]Change) {
	switch {
	case isSection(a.Type()):
		diffStruct(path, tag, a, b, out)
	case key != "" && distinct(a, key) && distinct(b, key):
		diffKeyed(path, tag, key, a, b, out)
	case a.Type() == reflect.TypeFor[Secret]():
		if x, y := a.Interface().(Secret), b.Interface().(Secret); !x.same(y) {
			*out = append(*out, Change{Path: path, Old: x.show(), New: y.shownAfter(x), Tag: tag})
		}
	default:
		if was, is := show(a), show(b); was != is {
			*out = append(*out, Change{Path: path, Old: was, New: is, Tag: tag})
		}
	}
}

// isSection tells a mapping of keys from a value with a text of its own.
func isSection(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && !reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// diffKeyed compares lists whose elements have a name. An element that moved is no change of its own; the order is.
func diffKeyed(path, tag, key string, a, b reflect.Value, out *[]Change) {
	was, is := names(a, key), names(b, key)
	var stay []string
	for i, name := range was {
		at := path + "[" + name + "]"
		j := slices.Index(is, name)
		if j < 0 {
			*out = append(*out, Change{Path: at, Old: show(a.Index(i)), Tag: tag})
			continue
		}
		stay = append(stay, name)
		diffStruct(at, tag, a.Index(i), b.Index(j), out)
	}
	for j, name := range is {
		if !slices.Contains(was, name) {
			*out = append(*out, Change{Path: path + "[" + name + "]", New: show(b.Index(j)), Tag: tag})
		}
	}
	order := slices.DeleteFunc(slices.Clone(is), func(n string) bool { return !slices.Contains(was, n) })
	if !slices.Equal(stay, order) {
		*out = append(*out, Change{Path: path + " (order)", Old: list(stay), New: list(order), Tag: tag})
	}
}

func distinct(v reflect.Value, key string) bool {
	all := names(v, key)
	sorted := slices.Sorted(slices.Values(all))
	return len(slices.Compact(sorted)) == len(all)
}

// names are the elements' names, by the field whose key is given.
func names(v reflect.Value, key string) []string {
	at := fieldsOf(v.Type().Elem())[key].index
	out := make([]string, v.Len())
	for i := range out {
		f := v.Index(i).Field(at)
		if f.Kind() != reflect.Slice {
			out[i] = fmt.Sprint(f.Interface())
			continue
		}
		words := make([]string, f.Len())
		for j := range words {
			words[j] = fmt.Sprint(f.Index(j).Interface())
		}
		out[i] = strings.Join(words, ", ")
	}
	return out
}

func list(words []string) string { return "[" + strings.Join(words, ", ") + "]" }

// show is a value in one line, in the flow style of the file.
func show(v reflect.Value) string {
	if s, ok := v.Interface().(Secret); ok {
		return s.show()
	}
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		text, _ := m.MarshalText() // the room's own types never fail
		if len(text) == 0 {
			return `""`
		}
		return string(text)
	}
	switch v.Kind() {
	case reflect.Struct:
		return showStruct(v)
	case reflect.Slice:
		words := make([]string, v.Len())
		for i := range words {
			words[i] = show(v.Index(i))
		}
		return list(words)
	case reflect.Map:
		words := make([]string, 0, v.Len())
		for _, k := range v.MapKeys() {
			words = append(words, k.String()+": "+show(v.MapIndex(k)))
		}
		slices.Sort(words)
		return "{ " + strings.Join(words, ", ") + " }"
	case reflect.String:
		if s := v.String(); s == "" || strings.ContainsAny(s, " ,:[]{}\"#\n") {
			return fmt.Sprintf("%q", s)
		}
		return v.String()
	default:
		return fmt.Sprint(v.Interface())
	}
}

// showStruct leaves out what was not given.
func showStruct(v reflect.Value) string {
	var words []string
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag
		if f := v.Field(i); !(f.IsZero() && strings.Contains(tag.Get("yaml"), "omitempty")) {
			words = append(words, keyOf(tag)+": "+show(f))
		}
	}
	return "{ " + strings.Join(words, ", ") + " }"
}
