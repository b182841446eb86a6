package config

import (
	"testing"

	"pgregory.net/rapid"
)

func TestSize(t *testing.T) {
	checkValues[Size](t, []valueCase{
		{text: "0", want: "0B"},
		{text: "65536", want: "64KiB"},
		{text: "1GiB", want: "1GiB"},
		{text: "1 GiB", want: "1GiB"},
		{text: "1024MiB", want: "1GiB"},
		{text: "500MB", want: "500MB"},
		{text: "2TB", want: "2TB"},
		{text: "3kB", want: "3kB"},
		{text: "7B", want: "7B"},
		{text: "8388607TiB", want: "8388607TiB"},
		{text: "", bad: "not a size", hint: "GiB"},
		{text: "GiB", bad: "not a size", hint: "GiB"},
		{text: "1.5GiB", bad: "not a size", hint: "GiB"},
		{text: "-1GiB", bad: "not a size", hint: "GiB"},
		{text: "1G", bad: `"G" is no unit`, hint: "GiB"},
		{text: "8388608TiB", bad: "too large", hint: "GiB"},
		{text: "99999999999999999999", bad: "too large", hint: "GiB"},
	})
}

func TestSizeReadsWhatItWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Size(rapid.Int64Min(0).Draw(t, "bytes"))
		var got Size
		if err := got.UnmarshalText([]byte(want.String())); err != nil || got != want {
			t.Fatalf("%s reads back as %d, %v", want, got, err)
		}
	})
}
