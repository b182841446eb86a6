//go:build interop

package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// cluster is a gate before two nodes of a PBX that share the phones.
const cluster = `outside: { address: 203.0.113.10, phones: { udp: 5060 }, trunks: { udp: 5080 } }
inside: { address: 10.0.0.2, phones: { udp: 5060 }, trunks: { udp: 5080 } }
pbx:
  domain: example.com
  nodes: [ { address: "10.0.0.10:5060" }, { address: "10.0.0.11:5060" } ]
  health: { interval: 1s, failures: 2, successes: 1 }
  pace: %[2]d/second
phones: { registration: { outside: 20s, inside: 1h }, keepalive: { interval: 0s } }
trunks:
  - { name: itsp, peers: [ { address: "203.0.113.20:5060" } ], keepalive: { method: none } }
policy: { rate_limits: [], strangers: { rate: 1000/second, burst: 1000 } }
cdr: { directory: %[1]s/cdr }
state: { directory: %[1]s/state }
log: { level: info }
admin: { socket: %[1]s/sbc.sock }
`

// clusterSize is how much there is of it.
type clusterSize struct {
	phones int
	rate   int           // calls a second
	talk   time.Duration // of each
	rest   time.Duration // between REGISTERs of a phone
	pace   int           // REGISTERs a second at a node that comes back
	silent bool          // the machine of the node dies, and not its program alone: nobody says that its port is shut
}

// TestClusterKill: two Kamailio share phones and calls, whose ends are elsewhere. One is killed: no call in progress is lost, new
// calls go to the other one in time, the phones as well. It comes back, and the other one is taken out: no call fails, and all phones
// come to the one that has just come back, no more of them a second than it can take.
func TestClusterKill(t *testing.T) {
	t.Parallel()
	size := clusterSize{phones: 60, rate: 20, talk: 3 * time.Second, rest: 2 * time.Second, pace: 20, silent: true}
	t.Run("machine", size.run)
	t.Run("program", func(t *testing.T) {
		long(t)
		s := size
		s.silent = false
		s.run(t)
	})
	t.Run("full size", func(t *testing.T) {
		long(t)
		clusterSize{phones: 200, rate: 50, talk: 5 * time.Second, rest: 5 * time.Second, pace: 20, silent: true}.run(t)
	})
}

// watched is a run of it.
type watched struct {
	clusterSize
	*gate
	office          *office
	nodes           map[string]*process
	killed, revived float64 // seconds since 1970
}

func (s clusterSize) run(t *testing.T) {
	if missing := lacking([]string{"kamailio", "nft"}); missing != "" {
		t.Fatalf("%s is missing: make interop installs it", missing)
	}
	w := newWorld(t)
	w.in(t, nsInside, "ip", "address", "add", desk+"/24", "dev", nsInside)
	w.in(t, nsOutside, "ip", "route", "add", "local", "198.18.0.0/15", "dev", "lo")
	w.in(t, nsGate, "ip", "route", "add", "198.18.0.0/15", "via", provider)
	r := &watched{clusterSize: s, office: w.staff(t, s.talk), nodes: map[string]*process{node1: w.pbx(t, node1), node2: w.pbx(t, node2)}}
	r.gate = w.run(t, fmt.Sprintf(cluster, w.dir, s.pace), gateOutside+":5060", gateOutside+":5080", gateInside+":5060", gateInside+":5080")
	still, rec := w.stillness(), w.capture(t)
	phones := r.register(t)
	t.Logf("phones: %v", r.homes(t))
	callers := r.callers(t)
	until(t, "calls are under way", 10*time.Second, func() bool { return len(r.records(t)) > s.rate })

	r.kill(t)
	r.settles(t, "all phones are at the node that lives", map[string]int{node2: s.phones})
	r.revive(t)
	until(t, "the node is back", 10*time.Second, func() bool { return r.healthy(t, node1) })
	time.Sleep(time.Second) // calls go to both
	if out, code := r.verb("pbx", "drain", node2); code != 0 {
		t.Errorf("sbc pbx drain: exit code %d: %s", code, out)
	}
	drained := now()
	r.settles(t, "no phone is left at the node that is taken out", map[string]int{node1: s.phones})
	time.Sleep(time.Second)
	phones.kill()
	for _, p := range callers {
		p.signal(syscall.SIGUSR1) // no new calls, and ends with those that there are
	}
	for _, p := range callers {
		if code, err := p.wait(30 * time.Second); err != nil || code != 0 && code != 99 {
			t.Errorf("%s: exit code %d, %v\n%s", p.name, code, err, tail(filepath.Join(w.dir, p.name+".errors")))
		}
	}
	r.judge(t, rec.stop(t), drained, still())
	if out, code := r.verb("status", "--audit"); code != 0 {
		t.Errorf("sbc status --audit: exit code %d\n%s", code, out)
	}
	if t.Failed() {
		t.Log(r.tail())
	}
	r.stop(t)
}

func now() float64 { return float64(time.Now().UnixNano()) / 1e9 }

// register starts the phones and waits until all are registered.
func (r *watched) register(t *testing.T) *process {
	t.Helper()
	var list strings.Builder
	list.WriteString("SEQUENTIAL\n")
	for i := range r.phones {
		fmt.Fprintf(&list, "%[1]d;198.18.%[2]d.%[3]d;[authentication username=%[1]d password=secret%[1]d]\n", 20000+i, 1+i/250, 1+i%250)
	}
	path := filepath.Join(r.w.dir, "phones.csv")
	if err := os.WriteFile(path, []byte(list.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	p := r.w.sipp(t, agent{ns: nsOutside, address: stranger, scenario: "cluster-phone", number: "phones", towards: gateOutside + ":5060", load: []string{
		"-t", "ui", "-max_socket", "1000", "-ip_field", "1", "-inf", path, "-auth_uri", domain, "-d", strconv.Itoa(int(r.rest.Milliseconds())),
		"-m", strconv.Itoa(r.phones), "-l", strconv.Itoa(r.phones), "-r", strconv.Itoa(max(20, int(float64(r.phones)/r.rest.Seconds()))),
	}})
	until(t, "all phones are registered", 20*time.Second, func() bool { return p.ended() || len(r.bindings(t)) == r.phones })
	if p.ended() {
		t.Fatalf("the phones have ended\n%s%s", tail(filepath.Join(r.w.dir, p.name+".errors")), p.tail())
	}
	return p
}

// homes is how many phones are registered at which node.
func (r *watched) homes(t *testing.T) map[string]int {
	t.Helper()
	homes := map[string]int{}
	for _, b := range r.bindings(t) {
		node, _ := b["node"].(string)
		for _, a := range []string{node1, node2} {
			if strings.Contains(node, a) {
				homes[a]++
			}
		}
	}
	return homes
}

// healthy reports whether the gate holds a node to be up.
func (r *watched) healthy(t *testing.T, node string) bool {
	t.Helper()
	var list []struct{ Address, State string }
	r.asks(t, &list, "pbx")
	for _, n := range list {
		if n.Address == node+":5060" {
			return n.State == "up"
		}
	}
	t.Fatalf("sbc pbx does not tell of %s: %+v", node, list)
	return false
}

func (r *watched) settles(t *testing.T, what string, want map[string]int) {
	t.Helper()
	begun, homes := time.Now(), map[string]int{}
	until(t, what, 30*time.Second, func() bool {
		time.Sleep(50 * time.Millisecond)
		homes = r.homes(t)
		return homes[node1] == want[node1] && homes[node2] == want[node2]
	})
	t.Logf("%s after %.1f s", what, time.Since(begun).Seconds())
}

// callers starts those who call by the trunk: half of the calls they end themselves.
func (r *watched) callers(t *testing.T) (list []*process) {
	t.Helper()
	for number, scenario := range map[string]string{"100": "crowd-caller", "101": "crowd-hears"} {
		a := agent{ns: nsOutside, address: provider, scenario: scenario, number: number, towards: gateOutside + ":5080", load: []string{
			"-m", "100000", "-r", strconv.Itoa(r.rate / 2), "-l", "1000", "-d", strconv.Itoa(int(r.talk.Milliseconds())), "-recv_timeout", "15000", "-timeout", "300s",
		}}
		if number == "101" {
			a.load = append(a.load, "-p", "5070")
		}
		list = append(list, r.w.sipp(t, a))
	}
	return list
}

// kill ends a node, children and all, before any of it can say a word.
func (r *watched) kill(t *testing.T) {
	t.Helper()
	p := r.nodes[node1]
	if r.silent {
		r.w.in(t, nsInside, "nft", "add table ip dead; add chain ip dead in { type filter hook input priority 0; }; add chain ip dead out { type filter hook output priority 0; };"+
			"add rule ip dead in ip daddr "+node1+" drop; add rule ip dead out ip saddr "+node1+" drop")
	}
	out, _ := exec.Command("ps", "-o", "pid=", "--ppid", strconv.Itoa(p.pid())).Output()
	r.killed = now()
	p.kill()
	for _, f := range strings.Fields(string(out)) {
		if pid, err := strconv.Atoi(f); err == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	until(t, "the node is dead", 5*time.Second, func() bool { return !r.boundAt(node1) })
}

// boundAt reports whether anybody still has the port of a node.
func (r *watched) boundAt(node string) bool {
	return r.nodes[node2] != nil && bound(r.nodes[node2].pid(), node+":5060")
}

func (r *watched) revive(t *testing.T) {
	t.Helper()
	if r.silent {
		r.w.in(t, nsInside, "nft", "delete table ip dead")
	}
	r.revived = now()
	r.nodes[node1] = r.w.pbx(t, node1)
}
