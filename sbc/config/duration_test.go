package config

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestDuration(t *testing.T) {
	checkValues[Duration](t, []valueCase{
		{text: "0", want: "0s"},
		{text: "0s", want: "0s"},
		{text: "0d", want: "0s"},
		{text: "1500ms", want: "1.5s"},
		{text: "60s", want: "1m"},
		{text: "90s", want: "1m30s"},
		{text: "1h", want: "1h"},
		{text: "1h0m5s", want: "1h0m5s"},
		{text: "10m", want: "10m"},
		{text: "24h", want: "1d"},
		{text: "90d", want: "90d"},
		{text: "1d12h", want: "1d12h"},
		{text: "36500d", want: "36500d"},
		{text: "1ns", want: "1ns"},
		{text: "", bad: "not a duration", hint: "such as"},
		{text: "60", bad: "without a unit", hint: "60s"},
		{text: "1.5", bad: "without a unit", hint: "1.5s"},
		{text: "-5s", bad: "negative", hint: "such as"},
		{text: "1d-5s", bad: "negative", hint: "such as"},
		{text: "d", bad: "not a duration", hint: "such as"},
		{text: "5 s", bad: "not a duration", hint: "such as"},
		{text: "5x", bad: "not a duration", hint: "such as"},
		{text: "36501d", bad: "too long", hint: "36500d"},
		{text: "36500d1s", bad: "too long", hint: "36500d"},
		{text: "1000000h", bad: "too long", hint: "36500d"},
		{text: "99999999999999999999d", bad: "too long", hint: "36500d"},
		{text: "9999999999999h", bad: "not a duration", hint: "such as"},
	})
}

func TestDurationReadsWhatItWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Duration(rapid.Int64Range(0, int64(maxDuration)).Draw(t, "ns"))
		var got Duration
		if err := got.UnmarshalText([]byte(want.String())); err != nil || got != want {
			t.Fatalf("%s reads back as %v, %v", want, got, err)
		}
		if got.Std() != time.Duration(want) {
			t.Fatal("Std differs")
		}
	})
}
