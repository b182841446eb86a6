//go:build interop

package interop

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// keep is where the captures of TestReplay are kept for the tests of the project that need no other program.
var keep = flag.String("keep", "", "folder where TestReplay leaves its captures and configuration, such as testdata/pcap")

// sipOnly is what a capture of the gate's signalling needs; the inside of TLS is not seen.
const sipOnly = "port 5060 or port 5080"

// TestReplay: telephones register and call, a trunk calls, scanners scan and guess, while dumpcap listens at the gate, on all
// of its interfaces at once and on the outer one. Whoever replays that through the rules in force sees what the gate saw;
// stricter rules are shown to shut out a telephone before they do; the limits that are proposed let every telephone live.
func TestReplay(t *testing.T) {
	t.Parallel()
	w := newHomes(t)
	w.pbx(t, node1)
	w.addresses(t, source(0), source(1), source(2))
	g := w.shipped(t, "")
	all, stopAll := w.record(t, nsGate, "any", "any", sipOnly)
	outer, stopOuter := w.record(t, nsGate, nsOutside, "outer", sipOnly)
	w.ordinaryDay(t)
	w.scanner(t, source(0), "", "svmap", "-p5060", gateOutside)
	w.scanner(t, source(1), "", "svwar", "-e", "195-215", "-m", "OPTIONS", "-t", "0.05", "--maximumtime", "2", gateOutside)
	w.scanner(t, source(2), phoneAgent, "svcrack", "-u", cora.user, "-d", w.dictionary(t, cora.password(), 30, 60), "-t", "0.1", "--maximumtime", "2", gateOutside)
	stopAll()
	stopOuter()
	saw := g.overview(t)
	why, _ := g.verb("why", source(2))
	config, stricter := filepath.Join(w.dir, "sbc.yaml"), filepath.Join(w.dir, "stricter.yaml")
	w.strict(t, config, stricter)
	for name, file := range map[string]string{"all interfaces": all, "the outer one": outer} {
		t.Run(name, func(t *testing.T) {
			out, code := offline(t, "replay", file, "--config", config)
			t.Logf("exit code %d\n%s", code, out)
			for _, who := range []string{source(1), source(2), "user-agent", "ban"} {
				if code != 0 || !strings.Contains(out, who) {
					t.Errorf("exit code %d, and replay does not name %s", code, who)
				}
			}
			refusals(t, file, config, saw)
			out, code = offline(t, "replay", file, "--config", stricter, "--against", config)
			t.Logf("against stricter rules: exit code %d\n%s", code, out)
			if code != 1 || !strings.Contains(out, public1) {
				t.Errorf("exit code %d, and nobody says that %s would be shut out", code, public1)
			}
			out, code = offline(t, "limits", "suggest", file, "--config", config)
			t.Logf("limits suggest: exit code %d\n%s", code, out)
			if code != 0 || !strings.Contains(out, "REGISTER") {
				t.Errorf("limits suggest: exit code %d", code)
			}
		})
	}
	w.tested(t, all, config)
	recorded := filepath.Join(w.dir, "recorder.pcapng")
	if out, code := g.verb("record", recorded); code != 0 {
		t.Errorf("sbc record: exit code %d\n%s", code, out)
	} else if out, code := offline(t, "replay", recorded, "--config", config); code != 0 || !strings.Contains(out, source(2)) {
		t.Errorf("replay of the flight recorder: exit code %d\n%s", code, out)
	}
	if *keep != "" {
		w.keeps(t, map[string]string{"any": all, "outer": outer})
	}
	if t.Failed() {
		t.Log(g.tail(), why)
	}
	g.stop(t)
}

// ordinaryDay is what telephones and the trunk do: telephones of two makes behind one router, one that guesses wrong once.
func (w *world) ordinaryDay(t *testing.T) {
	t.Helper()
	b := w.baresip(t, bert, "udp", doors["udp"], 60)
	b.registers(t, 1)
	callee := w.deskAnswers(t, "callee-held")
	w.meet(t, w.phone(t, sippPhone{extension: anna, transport: "tcp", scenario: "phone-calls", peer: "100", registrar: doors["tcp"]}), callee)
	w.verdict(t, w.sipp(t, agent{ns: nsOutside, address: provider, scenario: "caller", number: "+4930202", towards: gateOutside + ":5080"}))
	w.verdict(t, w.phone(t, sippPhone{extension: cora, transport: "udp", scenario: "phone-wrong", password: "mistyped", registrar: doors["udp"]}))
	b.quit(t)
}

// offline runs a verb that needs no running program.
func offline(t *testing.T, args ...string) (string, int) {
	t.Helper()
	path, err := filepath.Abs(*binary)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	text, _ := cmd.CombinedOutput()
	return string(text), cmd.ProcessState.ExitCode()
}

// strict writes the configuration with limits that a telephone does not live with.
func (w *world) strict(t *testing.T, config, stricter string) {
	t.Helper()
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	rules := "policy:\n  rate_limits:\n    - { name: stricter, range: any, realms: [phones], limits: { REGISTER: 1/hour, INVITE: 1/hour }, burst: 1 }\n"
	if err := os.WriteFile(stricter, []byte(string(text)+rules), 0o600); err != nil {
		t.Fatal(err)
	}
}

// refusals compares what a replay refuses with what the gate has refused, reason by reason.
func refusals(t *testing.T, file, config string, saw overview) {
	t.Helper()
	out, code := offline(t, "replay", file, "--config", config, "--json")
	var report struct {
		Sources []struct {
			Refusals []struct {
				Reason string
				Count  int
			}
		}
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != 0 {
		t.Errorf("replay --json: exit code %d, %v: %s", code, err, out)
		return
	}
	replayed := map[string]int{}
	for _, source := range report.Sources {
		for _, r := range source.Refusals {
			replayed[r.Reason] += r.Count
		}
	}
	real := map[string]int{}
	for _, c := range saw.Counts {
		if c.Side == nsOutside && c.Action != "allow" {
			real[c.Reason] += c.Count
		}
	}
	if !maps.Equal(real, replayed) {
		t.Errorf("refused by replay: %v, by the gate: %v", replayed, real)
	}
}

// tested asks the rules about messages of the capture.
func (w *world) tested(t *testing.T, file, config string) {
	t.Helper()
	done := map[string]bool{}
	for _, p := range choose(read(t, nsGate, file), packet.sip, to(gateOutside)) {
		agent := "phone"
		if strings.Contains(string(p.payload), "friendly-scanner") {
			agent = "scanner"
		}
		if !strings.HasPrefix(p.start(), "REGISTER") && agent == "phone" || done[agent] {
			continue
		}
		done[agent] = true
		path := filepath.Join(w.dir, agent+".sip")
		if err := os.WriteFile(path, p.payload, 0o600); err != nil {
			t.Fatal(err)
		}
		out, code := offline(t, "policy", "test", "--source", p.src.String(), "--message", path, "--config", config)
		t.Logf("policy test, %s: exit code %d\n%s", agent, code, out)
		if want := map[string]int{"phone": 0, "scanner": 3}[agent]; code != want {
			t.Errorf("policy test, %s: exit code %d, want %d", agent, code, want)
		}
	}
	if len(done) != 2 {
		t.Errorf("the capture has messages of %v alone", done)
	}
}

// keeps copies the captures, without what they tell of the machine: the older format has no room for it.
func (w *world) keeps(t *testing.T, files map[string]string) {
	t.Helper()
	if err := os.MkdirAll(*keep, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, file := range files {
		bare := filepath.Join(w.dir, name+".pcap")
		run(t, "editcap", "-F", "pcap", file, bare)
		run(t, "editcap", "-F", "pcapng", bare, filepath.Join(*keep, fmt.Sprint("day-", name, ".pcapng")))
	}
}
