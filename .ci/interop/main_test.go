//go:build interop

package interop

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
)

// TestMain checks that the tools are there and removes what an earlier, killed run left; an interrupt removes this one's.
func TestMain(m *testing.M) {
	switch os.Getenv(floorRole) {
	case "":
	case hearing:
		hear()
	case relayFloor, relayFloorConnected:
		relayFloorMain(os.Getenv(floorRole) == relayFloorConnected)
	default:
		floor()
	}
	for _, tool := range []string{"ip", "sipp", "dumpcap", "tshark"} {
		if _, err := exec.LookPath(tool); err != nil {
			fmt.Fprintf(os.Stderr, "%s is missing: make interop installs it\n", tool)
			os.Exit(1)
		}
	}
	sweep()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-stop
		mine := fmt.Sprintf("sallyport-%d-", os.Getpid())
		removeNamespaces(func(name string) bool { return strings.HasPrefix(name, mine) })
		os.Exit(130)
	}()
	os.Exit(m.Run())
}
