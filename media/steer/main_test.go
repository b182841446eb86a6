//go:build linux

package steer

import (
	"fmt"
	"os"
	"testing"
	"unsafe"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// roleVariable makes the test binary a child with a task of its own.
const roleVariable = "SALLYPORT_STEER_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" && roles[role] != nil {
		if err := roles[role](); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

var roles = map[string]func() error{}

// need skips a test where the machine does not allow steering, and says why.
func need(t testing.TB) {
	t.Helper()
	if err := Probe(); err != nil {
		t.Skip(err)
	}
}

// unlimited lets a test send faster than any stream.
const unlimited = 1 << 30

func unsafeBytes(v unix.Iovec) []byte { return unsafe.Slice(v.Base, v.Len) }
