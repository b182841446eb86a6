package api

import (
	"context"
	"io"
	"net/http"
	"time"
)

// pcapng is the media type of a dump; none is registered.
const pcapng = "application/x-pcapng"

// Record writes what the flight recorder of the program holds, a pcapng file.
func (c *Client) Record(ctx context.Context, w io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://sbc/v1/recorder", nil)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.explain(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		data, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
		if err != nil {
			return c.explain(err)
		}
		return decodeError(resp.StatusCode, data)
	}
	from := &reading{from: resp.Body}
	if _, err = io.Copy(w, from); from.err != nil {
		return c.explain(from.err)
	}
	return err
}

// reading tells errors of the program from those of whoever is written to.
type reading struct {
	from io.Reader
	err  error
}

// Read reads on.
func (r *reading) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

// streaming writes to a client that may take its time with a whole answer, but not with a part of it.
type streaming struct {
	w     http.ResponseWriter
	conn  *http.ResponseController
	began bool
}

// Write writes a part.
func (s *streaming) Write(p []byte) (int, error) {
	if !s.began {
		s.began = true
		s.w.Header().Set("Content-Type", pcapng)
	}
	_ = s.conn.SetWriteDeadline(time.Now().Add(transferTime)) // every real connection can
	return s.w.Write(p)
}

// record streams the flight recorder. What others said to each other is in it, so only those may have it who may make
// changes, and it is told like a change.
func (s *Server) record(w http.ResponseWriter, r *http.Request) {
	out := &streaming{w: w, conn: http.NewResponseController(w)}
	_, err := safely(s.change("record", func(r *http.Request) (any, error) {
		return nil, s.opt.Control.Record(r.Context(), out)
	}), r)
	switch {
	case err == nil:
	case out.began:
		panic(http.ErrAbortHandler) // the client must not take a part for the whole
	default:
		_ = out.conn.SetWriteDeadline(time.Now().Add(transferTime)) // every real connection can
		e := asError(err)
		write(w, e.Status, e)
	}
}
