package sbc_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"sallyport/sbc"
)

// TestRecordsVanish: SRV records that are answered with nothing make nobody a provider that was none, over a restart too.
func TestRecordsVanish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const www = "sip.provider.example. 30 IN A 203.0.113.21"
		z, dir := newZone(t, srvFirst, hostA, www), t.TempDir()
		core, seen := observer.New(zap.InfoLevel)
		kept := func(o *sbc.Options) { o.StateDir, o.Log = dir, zap.New(core) }
		l := newNamed(t, namedConfig(t), z, kept)
		z.set(t, hostA, www)
		time.Sleep(2 * time.Hour)
		for range 2 {
			itsp, other, pbx := l.wire(providerAt), l.wire(otherProviderAt), l.wire(pbxAt)
			caller, callee := l.connect(pbx, itsp, pbxSocket)
			hangup(caller, callee)
			other.send(trunkSocket, withBody(other.request("INVITE", trunkSocket, "100"), sdpAt(otherProviderAt.Addr(), 4000)))
			pbx.quiet(time.Second)
			if got := l.trunkText(); !strings.Contains(got, "where there was more before") || !strings.Contains(got, "203.0.113.20:5060") {
				t.Errorf("sbc trunks:\n%s", got)
			}
			l.empty()
			l.close()
			l = newNamed(t, namedConfig(t), z, kept)
		}
		defer l.close()
		if n := seen.FilterMessageSnippet("where there was more before").Len(); n != 3 { // once each start
			t.Errorf("the log says it %d times", n)
		}
	})
}

// TestEveryChangeCounts: weights, transports, and the places that no line of the log has room for.
func TestEveryChangeCounts(t *testing.T) {
	zoneOf := func(weight, last int) (out []string) {
		for i := range 10 {
			n := i
			if i == 9 {
				n = last
			}
			out = append(out, fmt.Sprintf("_sip._udp.sip.provider.example. 30 IN SRV 10 %d 5060 h%d.provider.example.", weight*(10-i), i),
				fmt.Sprintf("h%d.provider.example. 30 IN A 203.0.113.%d", i, 100+n))
		}
		return out
	}
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t, zoneOf(1, 9)...)
		core, seen := observer.New(zap.InfoLevel)
		l := newNamed(t, namedConfig(t), z, func(o *sbc.Options) { o.Log = zap.New(core) })
		defer l.close()
		z.set(t, zoneOf(1, 77)...)
		time.Sleep(time.Minute)
		if got := l.trunkText(); !strings.Contains(got, "203.0.113.177:5060") || strings.Contains(got, "203.0.113.109:5060") {
			t.Errorf("sbc trunks:\n%s", got)
		}
		z.set(t, zoneOf(3, 77)...)
		time.Sleep(time.Minute)
		if n := seen.FilterMessageSnippet("leads to the same addresses otherwise").Len(); n != 2 {
			t.Errorf("the log says it %d times", n)
		}
		l.empty()
	})
}
