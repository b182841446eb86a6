package transaction

import (
	"testing"
	"time"

	"sallyport/nat"
)

// TestUnreachableInOneClass: a connection that could not be made fails what waits for it, and nothing that goes to the same address by
// a connection of another class.
func TestUnreachableInOneClass(t *testing.T) {
	tab, now := NewTable(Config{}), time.Unix(0, 0)
	to := flow("A")
	to.Transport = nat.TLS
	for class := range uint32(3) {
		to.Class = class
		m := request("OPTIONS", words{key: map[string]string{}})
		m.Via[0].Branch += string(rune('a' + class))
		if _, err := tab.Send(now, 1, class, m, to, nil); err != nil {
			t.Fatal(err)
		}
	}
	to.Class = 1
	out := tab.Unreachable(now, to, nil)
	if len(out) != 1 || out[0].Kind != Failed || out[0].Ref != 1 {
		t.Errorf("%+v", out)
	}
}
