package config

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"sallyport/sbc/tu"
)

// buildManners reads what a provider does not take.
func buildManners(t *Trunk, e *TrunkEntry) {
	t.Manners = tu.Manners{KeepsFlowing: e.Hold == "local", RingsBare: e.EarlyMedia == "183", Lacks: tu.LacksOf(e.Unsupported)}
	if slices.Contains(e.Unsupported, "timer") {
		t.SessionTimer = 0 // asked for by nobody (RFC 4028)
	}
}

// manners refuses what cannot be had together.
func (c *checker) manners(path string, t *TrunkEntry) {
	if t.DTMF == "info" && slices.Contains(t.Unsupported, "info") {
		c.fail(path+".unsupported", "write dtmf: rfc4733, or leave info out", "digits are to be sent in INFO, which the provider does not know")
	}
	for i, word := range t.Unsupported {
		if slices.Contains(t.Unsupported[:i], word) {
			c.fail(index(path+".unsupported", i), "keep one of the two", "%s is named twice", word)
		}
	}
}

// PresetValue is one key that a preset has set.
type PresetValue struct {
	Key    string // of the trunk: numbers.format
	Value  string // as the file would have it
	Preset string // its name; of several that set the key the one that counts
}

// String is the whole in a word: "numbers.format: plus (plus)".
func (v PresetValue) String() string { return v.Key + ": " + v.Value + " (" + v.Preset + ")" }

// PresetsOf tells what the presets of a trunk have set, and which of their keys the file has given itself.
func (s *Snapshot) PresetsOf(trunk string) (set []PresetValue, overruled []string) {
	for i := range s.doc.Trunks {
		if e := &s.doc.Trunks[i]; e.Name == trunk {
			return presetsOf(e, index("trunks", i), s.from)
		}
	}
	return nil, nil
}

func presetsOf(e *TrunkEntry, path string, from *origin) (set []PresetValue, overruled []string) {
	for _, name := range e.Preset {
		at := slices.IndexFunc(presets, func(p Preset) bool { return p.Name == name })
		if at < 0 {
			continue
		}
		root, _ := parseTree([]byte(presets[at].Sets))
		flatten("", root, func(key, value string) {
			if from.given(join(path, key)) {
				if !slices.Contains(overruled, key) {
					overruled = append(overruled, key)
				}
				return
			}
			v := PresetValue{Key: key, Value: value, Preset: name}
			before := slices.IndexFunc(set, func(x PresetValue) bool { return x.Key == key })
			switch {
			case before < 0 || key == "unsupported":
				set = append(set, v)
			default:
				set[before] = v
			}
		})
	}
	return set, overruled
}

// flatten yields the values of a mapping by their whole keys.
func flatten(path string, n *yaml.Node, yield func(key, value string)) {
	if n == nil || n.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := join(path, n.Content[i].Value), n.Content[i+1]
		switch value.Kind {
		case yaml.MappingNode:
			flatten(key, value, yield)
		case yaml.SequenceNode:
			var list []string
			for _, x := range value.Content {
				list = append(list, x.Value)
			}
			yield(key, "[ "+strings.Join(list, ", ")+" ]")
		default:
			yield(key, value.Value)
		}
	}
}

// presets notes what the presets of a trunk have set.
func (c *checker) presets(path string, t *TrunkEntry) {
	set, overruled := presetsOf(t, path, c.from)
	if len(set)+len(overruled) == 0 {
		return
	}
	text := "sets nothing that the file does not say itself"
	if len(set) > 0 {
		list := make([]string, len(set))
		for i, v := range set {
			list[i] = v.String()
		}
		text = "sets " + strings.Join(list, ", ")
	}
	if len(overruled) > 0 {
		text += "; the file itself says " + strings.Join(overruled, ", ")
	}
	c.report.note(c.from.problem(path+".preset", text, ""))
}
