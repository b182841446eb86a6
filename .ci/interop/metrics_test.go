//go:build interop

package interop

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// watched is a gate that can be monitored.
func (w *world) watched(t *testing.T) *gate {
	t.Helper()
	text := fmt.Sprintf(document, "0s", "none", w.dir, "info", "30000-31000")
	text = strings.Replace(text, "admin: {", `admin: { http: "127.0.0.1:8080",`, 1)
	return w.run(t, text, gateOutside+":5080", gateInside+":5080")
}

// get asks the gate as a monitoring system on its machine does.
func (g *gate) get(t *testing.T, path string) (status int, body string) {
	t.Helper()
	c, err := g.w.dial(t, nsGate, "127.0.0.1", "127.0.0.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(c, "GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n", path)
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(text)
}

// metric is one figure of a scrape, by its name and labels; -1: it is not there.
func (g *gate) metric(t *testing.T, name string) float64 {
	t.Helper()
	_, body := g.get(t, "/metrics")
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\S+)$`).FindStringSubmatch(body)
	if m == nil {
		return -1
	}
	v, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// promtool has something to complain of in nothing that it is given.
func promtool(t *testing.T, input string, args ...string) {
	t.Helper()
	cmd := exec.Command("promtool", args...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Contains(string(out), "lint") || args[1] == "metrics" && len(out) > 0 {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// TestMetrics: Prometheus's own tool reads a scrape and the alerting rules, and figures follow a call.
func TestMetrics(t *testing.T) {
	w := newWorld(t)
	g := w.watched(t)
	if status, body := g.get(t, "/readyz"); status != 200 || !strings.Contains(body, `"ready":true`) {
		t.Errorf("%d %s", status, body)
	}
	if status, _ := g.get(t, "/healthz"); status != 200 {
		t.Errorf("health %d", status)
	}
	g.call(t, directions[0], calls[0])
	const ended = `sbc_calls_ended_total{direction="inbound",ended_by="caller",result="answered"}`
	until(t, "the call is counted", 5*time.Second, func() bool { return g.metric(t, ended) == 1 })
	for name, least := range map[string]float64{
		`sbc_media_packets_total{direction="in",side="outside"}`: 50, `sbc_media_loss_ratio_count{side="outside"}`: 1,
		`sbc_cdr_records_written_total`: 1, `sbc_trunk_calls_ended_total{direction="inbound",result="answered",trunk="itsp"}`: 1,
		`sbc_media_up`: 1, `process_open_fds`: 10,
	} {
		if v := g.metric(t, name); v < least {
			t.Errorf("%s is %v", name, v)
		}
	}
	_, body := g.get(t, "/metrics")
	promtool(t, body, "check", "metrics")
	rules, err := filepath.Abs("../../deploy/prometheus/sbc.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	promtool(t, "", "check", "rules", rules)
	g.stop(t)
}

// TestDiskFull: twenty calls while the disk of the records is full. The calls go on; their records are complete once there is
// room.
func TestDiskFull(t *testing.T) {
	w := newWorld(t)
	dir := filepath.Join(w.dir, "cdr")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	ballast := filepath.Join(w.dir, "cdr", ".ballast")
	g := w.watched(t)
	if err := os.WriteFile(ballast, make([]byte, 252<<10), 0o600); err != nil { // a page or two are left: a few records
		t.Fatal(err)
	}
	const n = 20
	callee, caller := directions[0].callee, directions[0].caller
	callee.scenario, caller.scenario = "callee", "caller"
	callee.load = []string{"-m", strconv.Itoa(n), "-timeout", "60s"}
	caller.load = []string{"-m", strconv.Itoa(n), "-r", "10", "-timeout", "60s"}
	answering := w.sipp(t, callee)
	calling := w.sipp(t, caller)
	w.verdict(t, calling)
	w.verdict(t, answering)
	until(t, "records wait", 10*time.Second, func() bool {
		return g.metric(t, "sbc_cdr_failing") == 1 && g.metric(t, "sbc_cdr_records_waiting")+g.metric(t, "sbc_cdr_records_written_total") == n
	})
	if v := g.metric(t, "sbc_calls"); v != 0 {
		t.Errorf("%v calls are left", v)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	until(t, "records are complete", 15*time.Second, func() bool { return g.metric(t, "sbc_cdr_records_written_total") == n })
	seen := map[any]bool{}
	for _, r := range g.records(t) { // a torn line fails here
		seen[r["call"]] = true
	}
	if len(seen) != n || g.metric(t, "sbc_cdr_records_lost_total") != 0 || g.metric(t, "sbc_cdr_failing") != 0 {
		t.Errorf("%d records of %d calls, %v lost", len(seen), n, g.metric(t, "sbc_cdr_records_lost_total"))
	}
	g.stop(t)
}
