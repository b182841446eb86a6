//go:build interop

package interop

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

//go:embed path.cfg
var pathConfig []byte

// benchPhones are as many as come back every few seconds at the benchmark's rate, each at an address of its own, of the
// networks for benchmarks (RFC 2544).
const benchPhones = 3000

var registerContenders = []contender{
	{"sallyport", nil, func(t *testing.T, w *world) []*process {
		return []*process{w.phoneGate(t, phoneSettings{log: "warn", keepalive: "0s", health: "0s", outside: "3600s", strangers: "100000/second"}).process}
	}},
	{"kamailio, path proxy", []string{"kamailio"}, startPathProxy},
}

func startPathProxy(t *testing.T, w *world) []*process {
	config := filepath.Join(w.dir, "path.cfg")
	if err := os.WriteFile(config, pathConfig, 0o600); err != nil {
		t.Fatal(err)
	}
	proxy := w.start(t, nsGate, "kamailio", "kamailio", "-f", config, "-DD", "-E", "-m", "256", "-M", "16",
		"-P", filepath.Join(w.dir, "kamailio.pid"), "-Y", w.dir)
	until(t, "kamailio listens", 10*time.Second, func() bool { return proxy.ended() || bound(proxy.pid(), gateOutside+":5060") })
	if proxy.ended() {
		t.Fatalf("kamailio does not start\n%s", proxy.tail())
	}
	return []*process{proxy}
}

// TestBenchRegister prints the CPU that a registration costs: REGISTER, 401, REGISTER with credentials, 200 on both legs over
// UDP. Neither contender pings the phones. They take turns; it asserts no time.
func TestBenchRegister(t *testing.T) {
	if !*bench {
		t.Skip("make bench-peers runs it")
	}
	costs := map[string][]float64{}
	for round := range *rounds {
		for _, c := range registerContenders {
			if missing := lacking(c.needs); missing != "" {
				t.Logf("%s: left out, %s is not installed", c.name, missing)
				continue
			}
			t.Run(fmt.Sprintf("%s/%d", c.name, round+1), func(t *testing.T) {
				costs[c.name] = append(costs[c.name], registerCost(t, c))
			})
		}
	}
	middle := map[string]float64{}
	t.Logf("CPU a registration (401 and 200) at %d a second, median of %d interleaved runs of %d:", *rate, *rounds, *volume)
	for _, c := range registerContenders {
		if list := costs[c.name]; len(list) > 0 {
			slices.Sort(list)
			middle[c.name] = list[len(list)/2]
			t.Logf("  %-20s %6.3f ms   runs %.3f", c.name, middle[c.name], list)
		}
	}
	if own, other := middle[registerContenders[0].name], middle[registerContenders[1].name]; own > 0 && other > 0 {
		t.Logf("  %s is %.2f × %s", registerContenders[0].name, own/other, registerContenders[1].name)
	}
}

// subscribers writes who registers, and from where, for sipp, and returns the path.
func (w *world) subscribers(t *testing.T) string {
	t.Helper()
	var list strings.Builder
	list.WriteString("SEQUENTIAL\n")
	for i := range benchPhones {
		fmt.Fprintf(&list, "%d;198.18.%d.%d;\n", 20000+i, 1+i/250, 1+i%250)
	}
	path := filepath.Join(w.dir, "users.csv")
	if err := os.WriteFile(path, []byte(list.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// registerCost is the CPU of a registration in milliseconds.
func registerCost(t *testing.T, c contender) float64 {
	w := newWorld(t)
	w.certificates(t)
	w.in(t, nsOutside, "ip", "route", "add", "local", "198.18.0.0/15", "dev", "lo")
	w.in(t, nsGate, "ip", "route", "add", "198.18.0.0/15", "via", provider)
	working := c.start(t, w)
	load := []string{"-m", strconv.Itoa(*volume), "-timeout", "120s", "-buff_size", "8388608"}
	registrar := w.sipp(t, agent{ns: nsInside, address: node1, scenario: "bench-registrar", number: "registrar", load: load})
	before := cpu(t, working)
	phones := w.sipp(t, agent{ns: nsOutside, address: stranger, scenario: "bench-phone", number: "phones", towards: gateOutside + ":5060",
		load: append([]string{"-r", strconv.Itoa(*rate), "-l", "3000", "-t", "ui", "-ip_field", "1", "-max_socket", "4000", "-inf", w.subscribers(t), "-au", "phone", "-ap", "secret", "-auth_uri", domain}, load...)})
	if _, err := phones.wait(150 * time.Second); err != nil {
		t.Fatal(err)
	}
	good := successful(phones)
	if good < *volume*99/100 {
		t.Fatalf("%d of %d registrations succeeded, sipp exits %d: the figure would mean nothing\n%s%s", good, *volume, phones.code,
			tail(filepath.Join(w.dir, phones.name+".errors")), working[0].tail())
	}
	spent := cpu(t, working) - before
	registrar.kill()
	if good < *volume {
		t.Logf("%d failed\n%s", *volume-good, tail(filepath.Join(w.dir, phones.name+".errors")))
	}
	ms := spent.Seconds() * 1000 / float64(good)
	t.Logf("%d registrations, %v of CPU, %.3f ms each", good, spent, ms)
	if strings.HasPrefix(c.name, "sallyport") {
		t.Logf("%d kB resident", resident(t, working[0].pid()))
	}
	return ms
}
