package config

import (
	"testing"
)

func TestRate(t *testing.T) {
	checkValues[Rate](t, []valueCase{
		{text: "1/second", want: "1/second"},
		{text: "15/minute", want: "15/minute"},
		{text: "3/hour", want: "3/hour"},
		{text: "1000000/day", want: "1000000/day"},
		{text: "", bad: "not a rate", hint: "15/minute"},
		{text: "15", bad: "not a rate", hint: "15/minute"},
		{text: "15/min", bad: `"min" is no unit`, hint: "15/minute"},
		{text: "15 / minute", bad: "whole number", hint: "15/minute"},
		{text: "1.5/second", bad: "whole number", hint: "15/minute"},
		{text: "-1/second", bad: "whole number", hint: "15/minute"},
		{text: "0/second", bad: "refuse everything", hint: "black_list"},
		{text: "1000001/second", bad: "over", hint: "leave the method out"},
		{text: "99999999999/second", bad: "whole number", hint: "15/minute"},
	})
}
