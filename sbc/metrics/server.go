package metrics

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"
)

// Bounds of the server.
const (
	maxConnections = 32
	maxScrapes     = 3       // at a time; further ones get 503
	maxHeader      = 8 << 10 // bytes
	headerTime     = 5 * time.Second
	transferTime   = 10 * time.Second // what a client may take to read an answer
	idleTime       = 2 * time.Minute  // of a connection, so that one of a server that scrapes each minute stays
)

// Check is one condition of being ready.
type Check struct {
	Name string `json:"check"`
	OK   bool   `json:"ok"`
	Why  string `json:"why,omitempty"` // not, and what to do
}

// Program is what the server asks of the running program. The methods may be called from any goroutine.
type Program interface {
	// Collect fills a scrape.
	Collect(ctx context.Context, s *Scrape)
	// Alive is an error if the core does not answer.
	Alive(ctx context.Context) error
	// Ready are the conditions under which calls should be sent here, in a fixed order.
	Ready(ctx context.Context) []Check
}

// Server answers /metrics, /healthz and /readyz.
type Server struct {
	program Program
	metrics http.Handler
	told    func(error)
}

// NewServer makes a server. told hears what goes wrong with a listener; it may be nil.
func NewServer(p Program, told func(error)) *Server {
	registry := prometheus.NewRegistry() // a registry of its own: the default one has whatever a library puts into it
	registry.MustRegister(collector{p.Collect}, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if told == nil {
		told = func(error) {}
	}
	return &Server{program: p, told: told, metrics: promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: maxScrapes, ErrorLog: failures(told),
	})}
}

// failures takes what the library has to say.
type failures func(error)

// Println implements promhttp.Logger.
func (f failures) Println(v ...any) { f(errors.New(strings.TrimSpace(fmt.Sprintln(v...)))) }

// Serve answers on a listener until the function that it returns is called. That lets requests in progress finish for a second
// and closes the listener.
func (s *Server) Serve(l net.Listener) (stop func()) {
	h := &http.Server{
		Handler: s.Handler(l.Addr()), ReadHeaderTimeout: headerTime, ReadTimeout: headerTime, WriteTimeout: transferTime,
		IdleTimeout: idleTime, MaxHeaderBytes: maxHeader, ConnState: new(idlers).changed,
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := h.Serve(netutil.LimitListener(l, maxConnections)); !errors.Is(err, http.ErrServerClosed) {
			s.told(fmt.Errorf("admin.http: %w", err))
		}
	}()
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if h.Shutdown(ctx) != nil {
			_ = h.Close() // who does not read in time has lost its answer
		}
		<-done
	}
}

// Handler answers requests that come by a listener of that address.
func (s *Server) Handler(at net.Addr) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/metrics", s.metrics)
	mux.HandleFunc("/healthz", s.health)
	mux.HandleFunc("/readyz", s.ready)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusNotFound, failure{"there is nothing here", "ask for /metrics, /healthz or /readyz"})
	})
	local := loopback(at)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			answer(w, http.StatusMethodNotAllowed, failure{"this is for reading alone", "use GET; changes are made by the verbs of sbc"})
		case r.ContentLength != 0:
			w.Header().Set("Connection", "close") // whatever comes there is no request
			answer(w, http.StatusRequestEntityTooLarge, failure{"a request has no body here", "leave it out"})
		case local && !literal(r.Host):
			// A page in a browser on this machine may make a name of its own mean 127.0.0.1 (DNS rebinding), and read on.
			answer(w, http.StatusMisdirectedRequest, failure{"this listens on loopback and knows no name but localhost", "ask by address"})
		default:
			mux.ServeHTTP(w, r)
		}
	})
}

// health says whether the process lives: what a supervisor restarts it for if not.
func (s *Server) health(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), answerTime)
	defer cancel()
	if err := s.program.Alive(ctx); err != nil {
		answer(w, http.StatusServiceUnavailable, failure{"the core does not answer: " + err.Error(), "if it stays so, restart sbc"})
		return
	}
	answer(w, http.StatusOK, struct {
		Status string `json:"status"`
	}{"ok"})
}

// ready says whether calls should be sent here.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), answerTime)
	defer cancel()
	out := struct {
		Ready  bool    `json:"ready"`
		Checks []Check `json:"checks"`
	}{true, s.program.Ready(ctx)}
	status := http.StatusOK
	for _, c := range out.Checks {
		if !c.OK {
			out.Ready, status = false, http.StatusServiceUnavailable
		}
	}
	answer(w, status, out)
}

// failure is an answer that is none.
type failure struct {
	What string `json:"error"`
	Hint string `json:"hint"`
}

func answer(w http.ResponseWriter, status int, v any) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil { // cannot happen: these are texts and booleans
		status = http.StatusInternalServerError
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // a client that has gone needs no answer
}

func loopback(at net.Addr) bool {
	a, err := netip.ParseAddrPort(at.String())
	return err == nil && a.Addr().Unmap().IsLoopback()
}

// literal reports whether a Host field names an address, or localhost.
func literal(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		return true
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}
