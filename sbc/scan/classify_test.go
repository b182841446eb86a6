package scan

import (
	"strings"
	"testing"
)

func TestClassify(t *testing.T) {
	stun := "\x00\x01\x00\x00\x21\x12\xa4\x42" + strings.Repeat("x", 12)
	old := "\x00\x01\x00\x00" + strings.Repeat("y", 16)
	tests := []struct {
		data string
		want Kind
	}{
		{"", KeepAlive},
		{"\x00", KeepAlive},
		{"\x00\x00\x00\x00", KeepAlive},
		{"\r\n", KeepAlive},
		{"\r\n\r\n", KeepAlive},
		{" \r\n", KeepAlive},
		{"jaK", KeepAlive},
		{"jaK\x00", KeepAlive},
		{"jaKarta", Junk},
		{strings.Repeat("\x00", maxKeepAlive), KeepAlive},
		{strings.Repeat("\x00", maxKeepAlive+1), Junk},
		{stun, Stun},
		{old, Stun},
		{"\x01\x01" + old[2:], Stun},
		{"\x01\x11" + old[2:], Junk},
		{"\x00\x01\x00\x08" + stun[4:], Junk},
		{"\x00\x01\x00\x02" + stun[4:] + "ab", Junk},
		{stun[:19], Junk},
		{"\x80" + stun[1:], Junk},
		{invite, Message},
		{"\r\n\r\n" + invite, Message},
		{"SIP/2.0 200 OK\r\n\r\n", Message},
		{"NEWMETHOD x", Message},
		{" INVITE sip:a SIP/2.0\r\n", Junk},
		{"INVITE\r\n", Junk},
		{"INVITE", Junk},
		{strings.Repeat("M", 40) + " sip:a SIP/2.0", Junk},
		{"\x16\x03\x01\x02\x00\x01", Junk},
		{"\xff\xff\xff\xff", Junk},
		{"(x) y", Junk},
	}
	for _, tt := range tests {
		if got := Classify([]byte(tt.data)); got != tt.want {
			t.Errorf("Classify(%q) = %v, want %v", tt.data, got, tt.want)
		}
	}
}
