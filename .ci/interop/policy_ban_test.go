//go:build interop

package interop

import (
	"strings"
	"testing"
	"time"
)

// TestBanByHand: it is refused while it would shut out registered phones. Forced, it ends the connection of a phone over TLS
// and the call that it makes and nobody has answered; lifted, the phone is let in again.
func TestBanByHand(t *testing.T) {
	t.Parallel()
	w := newHomes(t)
	w.pbx(t, node1)
	g := w.shipped(t, "")
	b := w.baresip(t, anna, "tls", doors["tls"], 60)
	b.registers(t, 1)
	connections := func() int {
		return strings.Count(w.in(t, nsGate, "ss", "-Htn", "state", "established", "( sport = :5061 )"), public1)
	}
	if n := connections(); n != 1 {
		t.Fatalf("%d connections of the phone", n)
	}
	callee := w.deskAnswers(t, "callee-cancelled")
	b.call("100")
	b.reaches(t, "CALL_RINGING", 1, 5*time.Second)
	out, code := g.verb("bans", "add", public1)
	if code != 1 || !strings.Contains(out, anna.user) {
		t.Errorf("a ban that shuts out a phone: exit code %d\n%s", code, out)
	}
	if n := connections(); n != 1 {
		t.Errorf("a ban that was refused has left %d connections", n)
	}
	if out, code := g.verb("bans", "add", public1, "--force", "--comment", "stolen phone"); code != 0 {
		t.Errorf("exit code %d\n%s", code, out)
	}
	until(t, "the connection is closed", 5*time.Second, func() bool { return connections() == 0 })
	w.verdict(t, callee) // it has heard CANCEL
	g.recorded(t, 0, 1)
	why, code := g.verb("why", public1)
	if code != 3 || !strings.Contains(why, "stolen phone") {
		t.Errorf("sbc why %s: exit code %d\n%s", public1, code, why)
	}
	b.kill()
	again := w.baresip(t, bert, "tls", doors["tls"], 60)
	time.Sleep(2 * time.Second)
	if again.registrations() != 0 {
		t.Error("a phone registers from a banned address")
	}
	again.kill()
	if out, code := g.verb("bans", "remove", public1); code != 0 {
		t.Errorf("exit code %d\n%s", code, out)
	}
	last := w.baresip(t, anna, "tls", doors["tls"], 60)
	last.registers(t, 1)
	last.quit(t)
	if t.Failed() {
		t.Log(g.tail())
	}
	g.stop(t)
}
