//go:build interop

package interop

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestForgedProvider: packets that somebody sends in the provider's name, with a scanner's, broken, or far too many. The
// provider's calls go on in both directions, and the administrator is told.
func TestForgedProvider(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.run(t, fmt.Sprintf(flooded, w.dir), gateOutside+":5060", gateOutside+":5080", gateInside+":5080")
	src := netip.MustParseAddrPort(provider + ":5060")
	in, out := directions[0], directions[1]
	in.callee.address, out.caller.address = node2, node2
	for _, c := range []struct {
		name  string
		times int
		kinds []int // of strangerSays
	}{
		{"one with a scanner's name", 1, []int{6}},
		{"one that is broken", 1, []int{7}},
		{"three hundred of every kind", 300, []int{0, 3, 5, 6, 7}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var list []forged
			for range c.times {
				for _, kind := range c.kinds {
					for _, door := range []string{":5060", ":5080"} {
						list = append(list, forge(src, addrPort(gateOutside+door), strings.ReplaceAll(strangerSays(kind, src), "00972595301234", "+4930999")))
					}
				}
			}
			told := alarms(w)
			w.forger(t, nsOutside, list).once(t)
			if c.kinds[0] == 6 {
				until(t, "an alarm in the log", 5*time.Second, func() bool { return alarms(w) > told })
			}
			if bans := g.bans(t); len(bans) > 0 {
				t.Errorf("bans: %+v", bans)
			}
			if c.times == 1 {
				t.Run("and it calls", func(t *testing.T) { g.call(t, in, calls[0]) })
				t.Run("and is called", func(t *testing.T) { g.call(t, out, calls[0]) })
				return
			}
			time.Sleep(time.Second) // what was forged and can be a call has rung by now
			callee := w.sipp(t, agent{ns: nsInside, address: node2, scenario: "callee", number: "+4930100"})
			w.meet(t, w.sipp(t, agent{ns: nsOutside, address: provider, scenario: "caller", number: "+4930100", towards: gateOutside + ":5080"}), callee)
		})
	}
	why, code := g.verb("why", provider)
	t.Logf("sbc why %s: exit code %d\n%s", provider, code, why)
	if t.Failed() {
		t.Log(g.tail())
	}
	g.stop(t)
}

// alarms counts what the log says to the administrator about the provider.
func alarms(w *world) (n int) {
	text, _ := os.ReadFile(filepath.Join(w.dir, "sbc.log"))
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, `"level":"warn"`) && strings.Contains(line, provider) {
			n++
		}
	}
	return n
}
