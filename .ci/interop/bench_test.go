//go:build interop

package interop

import (
	_ "embed"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	bench  = flag.Bool("bench", false, "run TestBench")
	rate   = flag.Int("rate", 600, "calls a second of TestBench")
	volume = flag.Int("volume", 9000, "calls of a run of TestBench")
	rounds = flag.Int("rounds", 3, "interleaved runs of each contender of TestBench")
)

//go:embed kamailio.cfg
var kamailioConfig []byte

// contender does the work between two sipp: it is started in the gate's namespace and names the processes whose CPU counts.
type contender struct {
	name  string
	needs []string
	start func(*testing.T, *world) []*process
}

var contenders = []contender{
	{"sallyport", nil, func(t *testing.T, w *world) []*process {
		return []*process{w.gate(t, settings{log: "warn", ports: "20000-23999"}).process}
	}},
	{"kamailio+rtpengine", []string{"kamailio", "rtpengine"}, startKamailio},
	{"floor", nil, startFloor},
}

// startKamailio starts both with their user-space relay: no kernel module, as for everybody else.
func startKamailio(t *testing.T, w *world) []*process {
	config := filepath.Join(w.dir, "kamailio.cfg")
	if err := os.WriteFile(config, kamailioConfig, 0o600); err != nil {
		t.Fatal(err)
	}
	relay := w.start(t, nsGate, "rtpengine", "rtpengine", "--config-file=none", "--table=-1", "--foreground", "--log-stderr", "--log-level=4",
		"--interface=outside/"+gateOutside, "--interface=inside/"+gateInside, "--listen-ng=127.0.0.1:2223",
		"--port-min=20000", "--port-max=23999", "--delete-delay=0", "--num-threads=2")
	until(t, "rtpengine listens", 10*time.Second, func() bool { return relay.ended() || bound(relay.pid(), "127.0.0.1:2223") })
	proxy := w.start(t, nsGate, "kamailio", "kamailio", "-f", config, "-DD", "-E", "-m", "256", "-M", "16",
		"-P", filepath.Join(w.dir, "kamailio.pid"), "-Y", w.dir)
	until(t, "kamailio listens", 10*time.Second, func() bool { return proxy.ended() || bound(proxy.pid(), gateOutside+":5080") })
	if relay.ended() || proxy.ended() {
		t.Fatalf("they do not start\n%s%s", relay.tail(), proxy.tail())
	}
	return []*process{proxy, relay}
}

// startFloor starts this test's binary as a relay that receives and sends each datagram and does nothing else.
func startFloor(t *testing.T, w *world) []*process {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := w.start(t, nsGate, "floor", "env", floorRole+"=1", "GOMAXPROCS=4", "GODEBUG=asyncpreemptoff=1", self)
	until(t, "floor listens", 10*time.Second, func() bool { return p.ended() || bound(p.pid(), gateInside+":5080") })
	return []*process{p}
}

// TestBench prints the CPU that a call costs: INVITE, 180, 200, ACK, BYE, 200 on both legs over UDP, ports reserved. The
// contenders take turns, so that what else the machine does meets all of them. It asserts no time.
func TestBench(t *testing.T) {
	if !*bench {
		t.Skip("make bench runs it")
	}
	costs := map[string][]float64{}
	for round := range *rounds {
		for _, c := range contenders {
			if missing := lacking(c.needs); missing != "" {
				if round == 0 {
					t.Logf("%s: left out, %s is not installed (apt-get install kamailio rtpengine-daemon)", c.name, missing)
				}
				continue
			}
			t.Run(fmt.Sprintf("%s/%d", c.name, round+1), func(t *testing.T) {
				costs[c.name] = append(costs[c.name], cost(t, c))
			})
		}
	}
	middle := map[string]float64{}
	for name, list := range costs {
		slices.Sort(list)
		middle[name] = list[len(list)/2]
	}
	t.Logf("CPU a call at %d calls a second, median of %d interleaved runs of %d calls:", *rate, *rounds, *volume)
	for _, c := range contenders {
		if list := costs[c.name]; len(list) > 0 {
			t.Logf("  %-20s %6.3f ms   runs %.3f", c.name, middle[c.name], list)
		}
	}
	for _, than := range []string{"kamailio+rtpengine", "floor"} {
		if own, other := middle["sallyport"], middle[than]; own > 0 && other > 0 {
			t.Logf("  sallyport is %.2f × %s", own/other, than)
		}
	}
}

func lacking(tools []string) string {
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			return tool
		}
	}
	return ""
}

// cost is the CPU of a call in milliseconds.
func cost(t *testing.T, c contender) float64 {
	w := newWorld(t)
	working := c.start(t, w)
	load := []string{"-m", strconv.Itoa(*volume), "-timeout", "120s", "-buff_size", "8388608"}
	callee := w.sipp(t, agent{ns: nsInside, address: node1, scenario: "bench-callee", number: "+4930100", load: load})
	before := cpu(t, working)
	caller := w.sipp(t, agent{ns: nsOutside, address: provider, scenario: "bench-caller", number: "+4930100", towards: gateOutside + ":5080",
		load: append([]string{"-r", strconv.Itoa(*rate), "-l", "3000"}, load...)})
	if _, err := caller.wait(150 * time.Second); err != nil {
		t.Fatal(err)
	}
	good := successful(caller)
	if good < *volume*99/100 {
		t.Fatalf("%d of %d calls succeeded, sipp exits %d: the figure would mean nothing\n%s%s", good, *volume, caller.code, tail(filepath.Join(w.dir, caller.name+".errors")), working[0].tail())
	}
	spent := cpu(t, working) - before
	callee.kill()
	ms := spent.Seconds() * 1000 / float64(good)
	t.Logf("%d calls, %v of CPU, %.3f ms a call", good, spent, ms)
	if c.name == "sallyport" {
		retained(t, &gate{w: w}, good)
	}
	return ms
}

// retained logs what the transactions of finished calls hold. All are younger than 64·T1, so none has been forgotten.
func retained(t *testing.T, g *gate, calls int) {
	out, code := g.verb("status", "--audit", "--json")
	var audit []struct {
		Name  string
		Value int
	}
	if err := json.Unmarshal([]byte(out), &audit); err != nil || code != 0 {
		t.Errorf("sbc status --audit: exit code %d, %v: %s", code, err, out)
	}
	for _, a := range audit {
		if a.Name == "retained bytes" {
			t.Logf("%d bytes of cached messages retained a finished call", a.Value/calls)
		}
	}
}

var successes = regexp.MustCompile(`Successful call\s*\|\s*\d+\s*\|\s*(\d+)`)

// successful reads sipp's last statistics screen.
func successful(p *process) int {
	text, _ := os.ReadFile(p.log)
	found := successes.FindAllSubmatch(text, -1)
	if found == nil {
		return 0
	}
	n, _ := strconv.Atoi(string(found[len(found)-1][1]))
	return n
}

// cpu is the time, user and system, of the processes and all their descendants, in ticks of 10 ms.
func cpu(t *testing.T, list []*process) (total time.Duration) {
	t.Helper()
	parent, spent := map[int]int{}, map[int]time.Duration{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		_, rest, _ := strings.Cut(string(text), ") ") // proc(5): state ppid … utime (14) stime (15)
		f := strings.Fields(rest)
		parent[pid], _ = strconv.Atoi(f[1])
		user, _ := strconv.Atoi(f[11])
		system, _ := strconv.Atoi(f[12])
		spent[pid] = time.Duration(user+system) * 10 * time.Millisecond
	}
	for pid := range spent {
		for up := pid; up > 1; up = parent[up] {
			if slices.ContainsFunc(list, func(p *process) bool { return p.pid() == up }) {
				total += spent[pid]
				break
			}
		}
	}
	return total
}
