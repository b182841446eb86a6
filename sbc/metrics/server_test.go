package metrics

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// program is one that says what a test wants.
type program struct {
	dead   error
	checks []Check
	held   chan struct{} // a scrape waits for it; nil: it does not
	inside atomic.Int32
}

func (p *program) Collect(_ context.Context, s *Scrape) {
	p.inside.Add(1)
	if p.held != nil {
		<-p.held
	}
	s.Add(Calls, 3)
}

func (p *program) Alive(context.Context) error   { return p.dead }
func (p *program) Ready(context.Context) []Check { return p.checks }

// ask asks a handler on loopback.
func ask(p *program, method, path, host, body string) *httptest.ResponseRecorder {
	h := NewServer(p, nil).Handler(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080})
	var b io.Reader
	if body != "" {
		b = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, path, b)
	r.Host = host
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestAnswers(t *testing.T) {
	good := &program{checks: []Check{{Name: "core", OK: true}}}
	for _, tt := range []struct {
		p            *program
		method, path string
		host, body   string
		status       int
		want         string
	}{
		{good, "GET", "/metrics", "127.0.0.1:8080", "", 200, "\nsbc_calls 3\n"},
		{good, "GET", "/metrics", "localhost:8080", "", 200, "go_goroutines"},
		{good, "GET", "/metrics", "[::1]:8080", "", 200, "process_open_fds"},
		{good, "GET", "/metrics", "evil.example:8080", "", 421, "localhost"},
		{good, "GET", "/metrics", "", "", 421, "localhost"},
		{good, "HEAD", "/metrics", "127.0.0.1", "", 200, ""},
		{good, "POST", "/metrics", "127.0.0.1", "", 405, "reading alone"},
		{good, "DELETE", "/healthz", "127.0.0.1", "", 405, "reading alone"},
		{good, "GET", "/healthz", "127.0.0.1", "x", 413, "no body"},
		{good, "GET", "/healthz", "127.0.0.1", "", 200, `{"status":"ok"}`},
		{good, "GET", "/readyz", "127.0.0.1", "", 200, `{"ready":true,"checks":[{"check":"core","ok":true}]}`},
		{good, "GET", "/", "127.0.0.1", "", 404, "/metrics"},
		{good, "GET", "/debug/pprof/", "127.0.0.1", "", 404, "/metrics"},
		{&program{dead: errors.New("busy")}, "GET", "/healthz", "127.0.0.1", "", 503, "the core does not answer: busy"},
		{&program{checks: []Check{{Name: "core", OK: true}, {Name: "pbx", Why: "all down"}}}, "GET", "/readyz", "127.0.0.1", "", 503,
			`{"ready":false,"checks":[{"check":"core","ok":true},{"check":"pbx","ok":false,"why":"all down"}]}`},
	} {
		w := ask(tt.p, tt.method, tt.path, tt.host, tt.body)
		if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.want) {
			t.Errorf("%s %s at %s: %d %.200q, want %d %q", tt.method, tt.path, tt.host, w.Code, w.Body.String(), tt.status, tt.want)
		}
		if tt.path != "/metrics" && !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s: no JSON: %q", tt.path, w.Body.String())
		}
	}
	// Elsewhere than on loopback a name is as good as an address.
	h := NewServer(good, nil).Handler(&net.TCPAddr{IP: net.IPv4(10, 0, 0, 2), Port: 8080})
	r := httptest.NewRequest("GET", "/healthz", nil)
	r.Host = "sbc.example.com"
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, r); w.Code != 200 {
		t.Errorf("by name: %d", w.Code)
	}
}

func TestLint(t *testing.T) {
	y := NewTally()
	p := &everything{tally: y}
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/metrics", nil)
	r.Host = "localhost"
	NewServer(p, func(err error) { t.Error(err) }).Handler(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}).ServeHTTP(w, r)
	body := w.Body.String()
	for _, f := range Families() {
		if !strings.Contains(body, "# TYPE "+f.Name+" "+string(f.Kind)+"\n") {
			t.Errorf("%s is not there", f.Name)
		}
	}
	problems, err := promlint.New(strings.NewReader(body)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// everything has a value in every family.
type everything struct {
	program
	tally *Tally
}

func (p *everything) Collect(_ context.Context, s *Scrape) {
	p.tally.Name([]string{"a"}, []string{"b"})
	p.tally.Collect(s)
	for _, f := range Families() {
		if f.Kind == Histogram || s.series[f] != nil {
			continue
		}
		labels := make([]string, len(f.Labels))
		for i := range labels {
			labels[i] = "x"
		}
		s.Add(f, 1, labels...)
	}
}

func serve(t *testing.T, p Program) (at string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l.Addr().String(), NewServer(p, func(err error) { t.Error(err) }).Serve(l)
}

// TestStopLetsAnswersEnd: a scrape in progress has its answer.
func TestStopLetsAnswersEnd(t *testing.T) {
	p := &program{held: make(chan struct{})}
	at, stop := serve(t, p)
	got := make(chan string, 1)
	go func() {
		r, err := http.Get("http://" + at + "/metrics")
		if err != nil {
			got <- err.Error()
			return
		}
		body, _ := io.ReadAll(r.Body)
		_ = r.Body.Close()
		got <- string(body)
	}()
	for p.inside.Load() == 0 {
		select {
		case text := <-got:
			t.Fatal(text)
		default:
			runtime.Gosched()
		}
	}
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	close(p.held)
	if text := <-got; !strings.Contains(text, "\nsbc_calls 3\n") {
		t.Errorf("the scrape has %q", text)
	}
	<-stopped
	http.DefaultClient.CloseIdleConnections()
	if c, err := net.Dial("tcp", at); err == nil {
		_ = c.Close()
		t.Error("it listens on")
	}
}

// TestManyScrapes: more than a few at a time are refused.
func TestManyScrapes(t *testing.T) {
	p := &program{held: make(chan struct{})}
	h := NewServer(p, nil).Handler(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	one := func() int {
		r := httptest.NewRequest("GET", "/metrics", nil)
		r.Host = "localhost"
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	done := make(chan int, maxScrapes)
	for range maxScrapes {
		go func() { done <- one() }()
	}
	for p.inside.Load() < maxScrapes {
		runtime.Gosched()
	}
	if code := one(); code != http.StatusServiceUnavailable {
		t.Errorf("one more has %d", code)
	}
	close(p.held)
	for range maxScrapes {
		if code := <-done; code != 200 {
			t.Errorf("a scrape has %d", code)
		}
	}
}

// TestOversizedHeader: a request that is all header is refused.
func TestOversizedHeader(t *testing.T) {
	at, stop := serve(t, &program{})
	defer stop()
	c, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_, _ = fmt.Fprintf(c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-A: %s\r\n\r\n", strings.Repeat("a", 64<<10))
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Body.Close()
	if r.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", r.StatusCode)
	}
}
