package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds of the server.
const (
	maxConnections = 64
	maxBody        = 64 << 10
	answerTime     = 10 * time.Second // what Control may take
	transferTime   = 10 * time.Second // what a client may take to send a body, or to read an answer
	maxDrain       = 24 * time.Hour
)

// Options are what a Server needs.
type Options struct {
	Control Control
	// UID is the user besides root that may make changes; the program's own. Zero: root alone.
	UID int
	// Change is told of every change that somebody asked for, refused and failed ones included. It may be nil.
	Change func(uid int, what string, err error)
}

// Server answers on the admin socket.
type Server struct {
	opt  Options
	http *http.Server
}

// NewServer makes a server. It answers once Serve runs.
func NewServer(opt Options) *Server {
	s := &Server{opt: opt}
	if s.opt.Change == nil {
		s.opt.Change = func(int, string, error) {}
	}
	s.http = &http.Server{
		Handler: s.routes(), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 5 * time.Second,
		MaxHeaderBytes: 16 << 10, ConnContext: withPeer,
	}
	return s
}

// Serve answers until the context ends; then it lets requests in progress finish for a second and closes the listener,
// which removes the socket.
func (s *Server) Serve(ctx context.Context, l *net.UnixListener) error {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if s.http.Shutdown(last) != nil {
			_ = s.http.Close()
		}
	})
	err := s.http.Serve(newBounded(l, maxConnections))
	if stop() { // the listener failed by itself
		_ = s.http.Close()
		return fmt.Errorf("admin socket: %w", err)
	}
	<-done
	return nil
}

// bounded accepts so many connections at a time; further ones wait in the kernel's backlog.
type bounded struct {
	net.Listener
	slots  chan struct{}
	closed chan struct{}
	once   func()
}

func newBounded(l net.Listener, n int) *bounded {
	b := &bounded{Listener: l, slots: make(chan struct{}, n), closed: make(chan struct{})}
	b.once = sync.OnceFunc(func() { close(b.closed) })
	return b
}

// Accept waits for a slot, then for a connection.
func (b *bounded) Accept() (net.Conn, error) {
	select {
	case b.slots <- struct{}{}:
	case <-b.closed:
		return nil, net.ErrClosed
	}
	c, err := b.Listener.Accept()
	if err != nil {
		<-b.slots
		return nil, err
	}
	return &slotted{Conn: c, free: sync.OnceFunc(func() { <-b.slots })}, nil
}

// Close closes the listener.
func (b *bounded) Close() error {
	b.once()
	return b.Listener.Close()
}

// slotted gives its slot back when it closes.
type slotted struct {
	net.Conn
	free func()
}

// Close closes the connection.
func (c *slotted) Close() error {
	defer c.free()
	return c.Conn.Close()
}

type peerKey struct{}

// withPeer notes who opened the connection.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	if s, ok := c.(*slotted); ok {
		c = s.Conn
	}
	if cred, err := peerOf(c); err == nil {
		return context.WithValue(ctx, peerKey{}, cred)
	}
	return ctx
}

// uidOf is who asks; -1 if the kernel did not tell.
func uidOf(ctx context.Context) int {
	if cred, ok := ctx.Value(peerKey{}).(*unix.Ucred); ok {
		return int(cred.Uid)
	}
	return -1
}

func (s *Server) mayChange(uid int) bool { return uid == 0 || uid > 0 && uid == s.opt.UID }

// answer is a question's handler: it returns what is written as JSON.
type answer func(r *http.Request) (any, error)

func (s *Server) routes() http.Handler {
	c, mux := s.opt.Control, http.NewServeMux()
	ask := func(pattern string, f answer) { mux.Handle(pattern, s.guarded(f)) }
	ask("GET /v1/status", func(r *http.Request) (any, error) { return some(c.Status(r.Context())) })
	ask("GET /v1/calls", func(r *http.Request) (any, error) { return list(c.Calls(r.Context())) })
	ask("GET /v1/calls/{id}", func(r *http.Request) (any, error) { return some(c.Call(r.Context(), r.PathValue("id"))) })
	ask("GET /v1/trunks", func(r *http.Request) (any, error) { return list(c.Trunks(r.Context())) })
	ask("GET /v1/media", func(r *http.Request) (any, error) { return some(c.Media(r.Context())) })
	ask("GET /v1/pbx", func(r *http.Request) (any, error) { return list(c.Nodes(r.Context())) })
	ask("POST /v1/trunks/{name}/drain", drainOf(s, "trunks drain", true, c.DrainTrunk))
	ask("POST /v1/trunks/{name}/undrain", drainOf(s, "trunks undrain", false, c.DrainTrunk))
	ask("POST /v1/pbx/{name}/drain", drainOf(s, "pbx drain", true, c.DrainNode))
	ask("POST /v1/pbx/{name}/undrain", drainOf(s, "pbx undrain", false, c.DrainNode))
	ask("GET /v1/registrations", func(r *http.Request) (any, error) { return bindings(c.Registrations(r.Context(), "")) })
	ask("GET /v1/registrations/{aor}", func(r *http.Request) (any, error) { return s.bindingsOf(r.Context(), r.PathValue("aor")) })
	ask("GET /v1/bans", func(r *http.Request) (any, error) { return list(c.Bans(r.Context())) })
	ask("GET /v1/why", func(r *http.Request) (any, error) {
		subject := r.URL.Query().Get("subject")
		if subject == "" {
			return nil, BadRequest("ask for an address, an address of record or a Call-ID", "no subject")
		}
		return some(c.Why(r.Context(), subject))
	})
	ask("POST /v1/policy/test", s.testMessage)
	ask("POST /v1/route/test", s.testRoute)
	ask("GET /v1/reload", s.reload)
	ask("POST /v1/reload", s.change("reload", s.reload))
	ask("POST /v1/reload/keep", s.change("reload --keep", func(r *http.Request) (any, error) { return struct{}{}, c.KeepReload(r.Context()) }))
	ask("POST /v1/bans", s.change("bans add", s.addBan))
	ask("DELETE /v1/bans", s.change("bans remove", func(r *http.Request) (any, error) {
		return struct{}{}, c.RemoveBan(r.Context(), r.URL.Query().Get("address"))
	}))
	ask("POST /v1/drain", s.change("drain", s.drain))
	mux.HandleFunc("GET /v1/recorder", s.record)
	mux.HandleFunc("POST /v1/captures", s.capture)
	ask("GET /v1/captures", func(r *http.Request) (any, error) { return list(c.Captures(r.Context())) })
	ask("DELETE /v1/captures", s.change("capture stop", s.stopCapture))
	ask("/", func(r *http.Request) (any, error) {
		return nil, NotFound("program and client are of different versions?", "no such request: %s %s", r.Method, r.URL.Path)
	})
	return mux
}

// some keeps the error apart from a typed value, whose zero is not nothing.
func some[T any](v T, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return v, nil
}

// list is some for lists: no element is [], not null.
func list[T any](v []T, err error) (any, error) {
	if v == nil {
		v = []T{}
	}
	return some(v, err)
}

// drainRequest says how long to wait for the last call.
type drainRequest struct {
	Wait string `json:"wait"` // Go style
}

func (s *Server) drain(r *http.Request) (any, error) {
	var q drainRequest
	if err := readBody(r, &q); err != nil {
		return nil, err
	}
	wait, err := time.ParseDuration(q.Wait)
	if err != nil || wait < 0 || wait > maxDrain {
		return nil, BadRequest("write a duration up to 24h, such as 60s", "%q is not a time to wait", q.Wait)
	}
	// The ordinary bound is too short here: the wait is the request.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), wait+answerTime)
	defer cancel()
	// A client that goes away ends the wait, not the drain.
	defer context.AfterFunc(clientOf(r), cancel)()
	return some(s.opt.Control.Drain(ctx, wait))
}

func readBody(r *http.Request, into any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return BadRequest("send one JSON object", "the body cannot be read: %v", err)
	}
	return nil
}

type clientKey struct{}

// clientOf is the context that ends when the client goes away.
func clientOf(r *http.Request) context.Context {
	if ctx, ok := r.Context().Value(clientKey{}).(context.Context); ok {
		return ctx
	}
	return r.Context()
}

// change wraps what only root and our own user may do, and tells of it.
func (s *Server) change(what string, f answer) answer {
	return func(r *http.Request) (v any, err error) {
		uid := uidOf(r.Context())
		defer func() { s.opt.Change(uid, described(what, r.URL), err) }()
		if !s.mayChange(uid) {
			return nil, &Error{Status: http.StatusForbidden, What: "you may ask, but not change anything",
				Hint: "use root, or the user that runs sbc"}
		}
		return f(r)
	}
}

func described(what string, u *url.URL) string {
	if address := u.Query().Get("address"); address != "" {
		return what + " " + address
	}
	return what
}

// guarded bounds a request, keeps a panic from doing harm, and writes the answer.
func (s *Server) guarded(f answer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn := http.NewResponseController(w)
		v, err := any(nil), takeBody(conn, r)
		if err == nil {
			ctx, cancel := context.WithTimeout(context.WithValue(r.Context(), clientKey{}, r.Context()), answerTime)
			defer cancel()
			v, err = safely(f, r.WithContext(ctx))
		}
		_ = conn.SetWriteDeadline(time.Now().Add(transferTime)) // every real connection can
		if err != nil {
			e := asError(err)
			write(w, e.Status, e)
			return
		}
		write(w, http.StatusOK, v)
	})
}

// takeBody reads the whole body within its time, so that no handler waits for a client. The deadline must not stay: past
// it the server would take a client that waits for one that has gone.
func takeBody(conn *http.ResponseController, r *http.Request) error {
	if r.ContentLength == 0 {
		return nil
	}
	_ = conn.SetReadDeadline(time.Now().Add(transferTime)) // every real connection can
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	_ = conn.SetReadDeadline(time.Time{})
	switch {
	case err != nil:
		return BadRequest("send one JSON object", "the body cannot be read: %v", err)
	case len(body) > maxBody:
		return &Error{Status: http.StatusRequestEntityTooLarge, What: "the body is too large"}
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return nil
}

func safely(f answer, r *http.Request) (v any, err error) {
	defer func() {
		if p := recover(); p != nil {
			v, err = nil, fmt.Errorf("internal error: %v", p)
		}
	}()
	return f(r)
}

func write(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":"the answer cannot be written"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // a client that has gone needs no answer
}

// OwnUID is the user that the program runs as, for Options.
func OwnUID() int { return os.Geteuid() }
