package nat

import (
	"testing"
	"unsafe"
)

// TestFlowIsSmall: tables of thousands of phones have it as their key, and each message carries one.
func TestFlowIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(Flow{}); n > 48 {
		t.Errorf("a flow has %d bytes", n)
	}
}
