//go:build linux

package process

import "testing"

// What calls have left is collected once there is enough of it, and only then.
func TestTidy(t *testing.T) {
	var m memory
	m.tidy()
	kept := m.kept
	if m.tidy(); m.kept != kept {
		t.Error("it collects, although nothing is left")
	}
	left := make([][]byte, 64)
	for i := range left {
		left[i] = make([]byte, leavings)
	}
	if now := m.objects(); now < kept+uint64((len(left)-1)*leavings) {
		t.Fatalf("%d bytes of objects, %d before", now, kept)
	}
	clear(left)
	m.tidy()
	if now := m.objects(); now > kept+4*leavings || m.kept == kept {
		t.Errorf("%d bytes of objects after it was tidied, %d before", now, kept)
	}
}
