package sbc_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat/natlab"
	"sallyport/sbc/metrics"
)

// unready is why a load balancer is told to look elsewhere; "": it is not.
func (l *lab) unready() string {
	l.t.Helper()
	_, body := l.get(watcherAt, "/readyz")
	var out struct {
		Checks []metrics.Check `json:"checks"`
	}
	if err := json.Unmarshal([]byte(body), &out); err != nil {
		l.t.Fatalf("%s: %v", body, err)
	}
	why := ""
	for _, c := range out.Checks {
		why += c.Why
	}
	return why
}

// TestReadyOnceANodeHasAnswered: a PBX of which nothing was ever heard makes the gate unready after a while, and ready once it answers; a
// reload gives a new one as long.
func TestReadyOnceANodeHasAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		yaml := strings.Replace(watchedConfig, "health: { interval: 0 }", "health: { interval: 5s, failures: 4, successes: 1 }", 1)
		l := newGate(t, yaml, natlab.Options{Seed: 1})
		defer l.close()
		time.Sleep(19 * time.Second)
		if why := l.unready(); why != "" {
			t.Errorf("after %s: %s", "19 s", why)
		}
		time.Sleep(20 * time.Second)
		if why := l.unready(); why != "no PBX node has answered anything in the 39s since the start or the last reload: see `sbc pbx`" {
			t.Errorf("after 39 s: %q", why)
		}
		if s, err := l.control(yaml).Status(l.ctx); err != nil || !strings.Contains(fmt.Sprint(s.Attention), "no PBX node has answered anything") {
			t.Errorf("%v, %v", s.Attention, err)
		}
		l.mustReload(strings.Replace(yaml, "10.0.0.11", "10.0.0.12", 1))
		if why := l.unready(); why != "" {
			t.Errorf("after a reload: %s", why)
		}
		time.Sleep(time.Minute)
		if l.unready() == "" {
			t.Error("ready for ever after a reload")
		}
		l.agent("pbx", pbxAt, 11)
		time.Sleep(time.Minute)
		if why := l.unready(); why != "" {
			t.Errorf("it answers: %s", why)
		}
	})
}

// TestReadyWithoutHealthChecks: where nobody asks the nodes, one of which nothing is heard counts.
func TestReadyWithoutHealthChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, watchedConfig, natlab.Options{Seed: 1})
		defer l.close()
		time.Sleep(time.Hour)
		if why := l.unready(); why != "" {
			t.Error(why)
		}
	})
}

// TestReadyByARequestOfTheNode: a PBX that ignores OPTIONS, and asks something itself, is there.
func TestReadyByARequestOfTheNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		yaml := strings.Replace(watchedConfig, "health: { interval: 0 }", "health: { interval: 5s, failures: 2, successes: 1 }", 1)
		l := newGate(t, yaml, natlab.Options{Seed: 1})
		defer l.close()
		pbx := l.wire(pbxAt)
		time.Sleep(time.Minute)
		if l.unready() == "" {
			t.Fatal("ready without a word")
		}
		pbx.send(pbxSocket, pbx.request("OPTIONS", pbxSocket, "ping"))
		time.Sleep(time.Second)
		if why := l.unready(); why != "" {
			t.Error(why)
		}
	})
}
