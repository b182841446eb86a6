package sbc_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"sallyport/nat/natlab"
	"sallyport/sbc"
	"sallyport/sbc/demo"
	"sallyport/sbc/metrics"
)

const watchedConfig = labConfig + "admin: { http: \"127.0.0.1:8080\" }\n"

var watcherAt = netip.MustParseAddrPort("127.0.0.1:8080")

// get asks the program as a monitoring system does.
func (l *lab) get(at netip.AddrPort, path string) (status int, body string) {
	l.t.Helper()
	t := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return l.net.Host(at.Addr()).DialStream(ctx, netip.AddrPortFrom(at.Addr(), 0), at)
	}}
	defer t.CloseIdleConnections()
	r, err := (&http.Client{Transport: t}).Get("http://" + at.String() + path)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = r.Body.Close() }()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		l.t.Fatal(err)
	}
	return r.StatusCode, string(text)
}

// scrape is what a scrape finds, by name and labels as they stand there.
func (l *lab) scrape() map[string]float64 {
	l.t.Helper()
	status, body := l.get(watcherAt, "/metrics")
	if status != 200 {
		l.t.Fatalf("%d %s", status, body)
	}
	out := map[string]float64{}
	for line := range strings.Lines(body) {
		if i := strings.LastIndexByte(line, ' '); i > 0 && line[0] != '#' {
			v, err := strconv.ParseFloat(strings.TrimSpace(line[i:]), 64)
			if err != nil {
				l.t.Fatalf("%q: %v", line, err)
			}
			out[line[:i]] = v
		}
	}
	return out
}

// TestScrapeOfARunningGate: figures of calls in progress and of those that have ended, and no complaint of the linter.
func TestScrapeOfARunningGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, watchedConfig, natlab.Options{Seed: 1})
		defer l.close()
		l.pbx.Incoming = scriptOf(demo.Script{Ring: 200 * time.Millisecond, Answer: 2 * time.Second}, sdpAt(pbxAt.Addr(), 4002))
		script := demo.Script{Hangup: 10 * time.Second, SDP: sdpAt(providerAt.Addr(), 4000)}
		done := make(chan demo.Result, 1)
		script.Done = func(r demo.Result) { done <- r }
		l.provider.Do(func() { l.provider.Call("+4930123", trunkSocket, script) })
		time.Sleep(5 * time.Second)
		during := l.scrape()
		<-done
		time.Sleep(time.Minute)
		after := l.scrape()
		for name, want := range map[string][2]float64{
			"sbc_calls": {1, 0}, "sbc_core_up": {1, 1}, "sbc_draining": {0, 0}, "sbc_media_up": {1, 1},
			`sbc_trunk_calls{trunk="itsp"}`: {1, 0}, `sbc_node_calls{node="10.0.0.10:5060"}`: {1, 0}, `sbc_node_calls{node="10.0.0.11:5060"}`: {0, 0},
			`sbc_media_port_pairs{state="reserved"}`: {1, 0}, "sbc_dialogs": {2, 0}, "sbc_calls_started_total": {1, 1},
			`sbc_calls_ended_total{direction="inbound",ended_by="caller",result="answered"}`:  {0, 1},
			`sbc_call_setup_duration_seconds_count{direction="inbound"}`:                      {0, 1},
			`sbc_call_post_dial_delay_seconds_bucket{direction="inbound",le="0.5"}`:           {0, 1},
			`sbc_call_duration_seconds_bucket{direction="inbound",le="15"}`:                   {0, 1},
			`sbc_node_attempts_total{class="2xx",node="10.0.0.10:5060"}`:                      {0, 1},
			`sbc_trunk_calls_ended_total{direction="inbound",result="answered",trunk="itsp"}`: {0, 1},
			`sbc_trunk_state{state="unknown",trunk="itsp"}`:                                   {1, 1},
			`sbc_config_last_reload_successful`:                                               {1, 1},
			`sbc_panics_total{place="core"}`:                                                  {0, 0},
		} {
			for i, got := range []map[string]float64{during, after} {
				if v, ok := got[name]; !ok || v != want[i] {
					t.Errorf("%s, scrape %d: %v (%v), want %v", name, i, v, ok, want[i])
				}
			}
		}
		if v := after[`sbc_guard_verdicts_total{action="allow",realm="trunks",reason="allow",side="outside"}`]; v == 0 {
			t.Error("nobody was let in")
		}
		l.complete()
		if c := l.cdrs.all(); len(c) != 1 || len(c[0].Tries) != 1 || c[0].Tries[0].Code != 200 || c[0].Tries[0].Took != 2.2 || c[0].PostDial != 0.2 ||
			c[0].Transports != [2]string{"udp", "udp"} || c[0].UserAgents[0] == "" || c[0].ToSent != "+4930123" {
			t.Errorf("record %+v", c)
		}
	})
}

// complete checks a scrape as a whole: the linter has nothing to say, and every metric of the documentation that this gate could
// have is there.
func (l *lab) complete() {
	l.t.Helper()
	_, body := l.get(watcherAt, "/metrics")
	problems, err := promlint.New(strings.NewReader(body)).Lint()
	if err != nil {
		l.t.Fatal(err)
	}
	for _, p := range problems {
		l.t.Errorf("%s: %s", p.Metric, p.Text)
	}
	var missing []string
	for _, f := range metrics.Families() {
		if !strings.Contains(body, "# TYPE "+f.Name+" ") {
			missing = append(missing, f.Name)
		}
	}
	// Of what this gate has not: TLS and streams, lists, files of records, rules, a registration of its own, refusals, an OPTIONS
	// that was answered, groups.
	absent := regexp.MustCompile(`_tls_|_stream_|_data_|_cdr_|_rule_hits|_registration_state|_registration_expiry|_refused_total|_reasons_total|_ignored_|_latency_|_dns_|_capture_|_trunk_group_`)
	missing = slices.DeleteFunc(missing, absent.MatchString)
	if len(missing) > 0 {
		l.t.Errorf("not there: %q", missing)
	}
	sizes := regexp.MustCompile(`(?m)^sbc_[^ ]+ `).FindAllString(body, -1)
	if len(sizes) > 1000 {
		l.t.Errorf("%d series", len(sizes))
	}
}

func TestHealthAndReadiness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		yaml := strings.Replace(watchedConfig, "health: { interval: 0 }", "health: { interval: 1s, failures: 2, successes: 1 }", 1)
		l := newLab(t, yaml, natlab.Options{Seed: 1})
		defer l.close()
		time.Sleep(3 * time.Second)
		if status, body := l.get(watcherAt, "/healthz"); status != 200 {
			t.Errorf("health %d %s", status, body)
		}
		ready := func(want string) {
			t.Helper()
			status, body := l.get(watcherAt, "/readyz")
			var out struct {
				Ready  bool            `json:"ready"`
				Checks []metrics.Check `json:"checks"`
			}
			if err := json.Unmarshal([]byte(body), &out); err != nil {
				t.Fatalf("%s: %v", body, err)
			}
			failing := ""
			for _, c := range out.Checks {
				if !c.OK {
					failing += c.Name + " "
				}
				if c.OK == (c.Why != "") {
					t.Errorf("%+v", c)
				}
			}
			if failing != want || out.Ready != (want == "") || (status == 200) != out.Ready {
				t.Errorf("%d %s, want %q to fail", status, body, want)
			}
		}
		ready("")
		cut := func(down bool) {
			l.net.Host(pbxAt.Addr()).Down(down)
			l.net.Host(otherPBXAt.Addr()).Down(down)
		}
		cut(true)
		time.Sleep(5 * time.Minute)
		ready("pbx ")
		cut(false)
		time.Sleep(time.Minute)
		ready("")
		if _, err := l.gate.Drain(l.ctx, time.Second); err != nil {
			t.Fatal(err)
		}
		ready("accepting ")
	})
}

// TestReloadMovesTheDoor: figures are read where the configuration in force says, and nowhere else.
func TestReloadMovesTheDoor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, watchedConfig, natlab.Options{Seed: 1})
		defer l.close()
		time.Sleep(time.Second)
		moved := func(address string) string { return strings.Replace(watchedConfig, "127.0.0.1:8080", address, 1) }
		reload := func(yaml string) error {
			_, err := l.gate.Reload(l.ctx, parse(t, yaml))
			return err
		}
		other := netip.MustParseAddrPort("127.0.0.1:9090")
		answers := func(at netip.AddrPort) bool { status, _ := l.get(at, "/healthz"); return status == 200 }
		if err := reload(moved("127.0.0.1:9090")); err != nil || answers(watcherAt) || !answers(other) {
			t.Errorf("moved: %v, %v, %v", err, answers(watcherAt), answers(other))
		}
		taken, err := l.net.Host(watcherAt.Addr()).ListenStream(watcherAt)
		if err != nil {
			t.Fatal(err)
		}
		if err := reload(moved("127.0.0.1:8080")); err == nil || !strings.Contains(err.Error(), "admin.http") || !answers(other) {
			t.Errorf("to a port that is taken: %v, %v", err, answers(other))
		}
		_ = taken.Close()
		if err := reload(labConfig); err != nil || answers(other) {
			t.Errorf("closed: %v, %v", err, answers(other))
		}
		from := time.Now()
		err = reload(watchedConfig)
		to := time.Now() // a door that closes waits for who is just leaving by it
		if err != nil || !answers(watcherAt) {
			t.Errorf("opened again: %v", err)
		}
		got := l.scrape()
		if got[`sbc_config_reloads_total{result="done"}`] != 3 || got[`sbc_config_reloads_total{result="failed"}`] != 1 || got["sbc_config_last_reload_successful"] != 1 {
			t.Errorf("reloads: %v done, %v failed", got[`sbc_config_reloads_total{result="done"}`], got[`sbc_config_reloads_total{result="failed"}`])
		}
		at := got["sbc_config_last_reload_success_timestamp_seconds"]
		if at < float64(from.UnixMilli())/1e3 || at > float64(to.UnixMilli())/1e3 {
			t.Errorf("in force since %.3f, reloaded from %.3f to %.3f", at, float64(from.UnixMilli())/1e3, float64(to.UnixMilli())/1e3)
		}
		l.gate.NotReloaded()
		if got := l.scrape(); got["sbc_config_last_reload_successful"] != 0 {
			t.Error("a configuration that could not be read counts as success")
		}
		l.stopGate()
		l.gateGone.Wait()
		if answers(watcherAt) {
			t.Error("it answers after the program's end")
		}
	})
}

// TestDoorThatIsTaken: a program that cannot open admin.http says so and does not start.
func TestDoorThatIsTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	yaml := strings.NewReplacer("203.0.113.10", "127.83.30.1", "10.0.0.2", "127.83.30.2", "127.0.0.1:8080", l.Addr().String()).Replace(watchedConfig)
	gate, err := sbc.New(parse(t, yaml), sbc.Options{Records: &ledger{}})
	if gate != nil || err == nil || !strings.Contains(err.Error(), "admin.http") || !strings.Contains(err.Error(), "hint") {
		t.Errorf("%v", err)
	}
}
