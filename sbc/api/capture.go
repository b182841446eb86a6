package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// CaptureRequest says whose messages and media are wanted, and how much of them.
type CaptureRequest struct {
	Subject string        `json:"subject"`         // a call, an address or prefix, an address-of-record
	For     time.Duration `json:"for"`             // at most
	Max     int64         `json:"max"`             // bytes of the file, about
	Media   bool          `json:"media,omitempty"` // RTP and RTCP, too
	Clear   bool          `json:"clear,omitempty"` // … without what SRTP does to them
	UID     int           `json:"-"`               // who asks
}

// Capture is one under way, or one that has ended.
type Capture struct {
	ID      int       `json:"id"`
	UID     int       `json:"uid"`
	Subject string    `json:"subject"`
	What    string    `json:"what"` // "a call", "an address", "a phone"
	Since   time.Time `json:"since"`
	Media   bool      `json:"media"`
	Clear   bool      `json:"clear,omitempty"`
	SIP     uint64    `json:"sip"`               // messages
	RTP     uint64    `json:"rtp"`               // datagrams of media
	Lost    uint64    `json:"lost"`              // whoever reads the file was too slow
	Missed  uint64    `json:"missed"`            // datagrams of media that the relay had no room for, of all captures together
	Bytes   int64     `json:"bytes"`             // of the file, about
	Ended   string    `json:"ended,omitempty"`   // why; empty: it goes on
	Follows int       `json:"follows,omitempty"` // calls at the moment
}

// CaptureSink takes a capture: Begin once, before the first byte of the file.
type CaptureSink interface {
	Begin(Capture)
	io.Writer
}

// captureHeader carries a Capture: as it begins, and as a trailer, as it has ended.
const (
	captureHeader  = "Sbc-Capture"
	captureTrailer = "Sbc-Captured"
)

// Capture writes what happens to a subject from now on, a pcapng file, until something ends it: StopCapture, the bounds of
// the request, the end of the call, or ctx. begun hears that it has begun, before anything is written; its error ends the
// capture.
func (c *Client) Capture(ctx context.Context, q CaptureRequest, w io.Writer, begun func(Capture) error) (ended Capture, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	body, err := json.Marshal(q)
	if err != nil {
		return ended, fmt.Errorf("the request cannot be written: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://sbc/v1/captures", bytes.NewReader(body))
	if err != nil {
		return ended, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return ended, c.explain(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		data, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
		if err != nil {
			return ended, c.explain(err)
		}
		return ended, decodeError(resp.StatusCode, data)
	}
	if err := json.Unmarshal([]byte(resp.Header.Get(captureHeader)), &ended); err != nil {
		return ended, fmt.Errorf("the answer cannot be read: %w\n  hint: are program and client of one version?", err)
	}
	if err := begun(ended); err != nil {
		return ended, err
	}
	from := &reading{from: resp.Body}
	if _, err = io.Copy(w, from); from.err != nil {
		return ended, c.explain(from.err)
	}
	if err != nil {
		return ended, err
	}
	if err := json.Unmarshal([]byte(resp.Trailer.Get(captureTrailer)), &ended); err != nil {
		return ended, fmt.Errorf("the capture has no end: %w\n  hint: the program may have ended: see its log", err)
	}
	return ended, nil
}

// StopCapture ends a capture; its file is finished.
func (c *Client) StopCapture(ctx context.Context, id int) error {
	_, err := call[struct{}](ctx, c, http.MethodDelete, "/v1/captures?id="+url.QueryEscape(strconv.Itoa(id)), nil)
	return err
}

// Captures are those under way.
func (c *Client) Captures(ctx context.Context) ([]Capture, error) {
	return call[[]Capture](ctx, c, http.MethodGet, "/v1/captures", nil)
}

// capturing is the way of a capture to its client.
type capturing struct{ streaming }

// Begin implements CaptureSink.
func (c *capturing) Begin(b Capture) {
	head, err := json.Marshal(b)
	if err != nil {
		return // the client will say that there is none
	}
	h := c.w.Header()
	h.Set("Content-Type", pcapng)
	h.Set("Trailer", captureTrailer)
	h.Set(captureHeader, string(head))
	_ = c.conn.SetWriteDeadline(time.Now().Add(transferTime)) // every real connection can
	c.began = true
	c.w.WriteHeader(http.StatusOK)
	_ = c.conn.Flush()
}

// Write implements io.Writer: what is written is on its way.
func (c *capturing) Write(p []byte) (int, error) {
	n, err := c.streaming.Write(p)
	if err == nil {
		err = c.conn.Flush()
	}
	return n, err
}

// capture streams a capture. What others say to each other is in it, so only those may have it who may make changes, and it is
// told like a change, when it begins.
func (s *Server) capture(w http.ResponseWriter, r *http.Request) {
	out := &capturing{streaming: streaming{w: w, conn: http.NewResponseController(w)}}
	ended, err := s.captured(out, r)
	switch {
	case err == nil:
		last, _ := json.Marshal(ended) // numbers and words
		w.Header().Set(captureTrailer, string(last))
	case out.began:
		panic(http.ErrAbortHandler) // the client must not take a part for the whole
	default:
		_ = out.conn.SetWriteDeadline(time.Now().Add(transferTime))
		e := asError(err)
		write(w, e.Status, e)
	}
}

func (s *Server) captured(out *capturing, r *http.Request) (ended Capture, err error) {
	var q CaptureRequest
	if err := takeBody(out.conn, r); err != nil {
		return ended, err
	}
	if err := readBody(r, &q); err != nil {
		return ended, err
	}
	q.UID = uidOf(r.Context())
	allowed := func(*http.Request) (any, error) { return nil, nil }
	if _, err := s.change(q.told(), allowed)(r); err != nil {
		return ended, err
	}
	v, err := safely(func(r *http.Request) (any, error) { return s.opt.Control.Capture(r.Context(), q, out) }, r)
	ended, _ = v.(Capture)
	return ended, err
}

// told is a request in the log.
func (q *CaptureRequest) told() string {
	text := fmt.Sprintf("capture %q", q.Subject)
	if q.Media {
		text += " with media"
	}
	if q.Clear {
		text += ", decrypted"
	}
	return text
}

func (s *Server) stopCapture(r *http.Request) (any, error) {
	id, err := strconv.Atoi(r.URL.Query().Get("id"))
	if err != nil {
		return nil, BadRequest("`sbc status` numbers those under way", "%q is no capture's number", r.URL.Query().Get("id"))
	}
	return struct{}{}, s.opt.Control.StopCapture(r.Context(), id)
}

// Text is what the verb says in the end; file is where it has gone to.
func (c *Capture) Text(file string) string {
	text := fmt.Sprintf("%s: %s, %s, %s", file, number(c.SIP, "SIP message"), number(c.RTP, "packet")+" of media", c.Ended)
	if c.Lost > 0 {
		text += fmt.Sprintf("\n%s lost: the disk, or whoever reads the file, is too slow", number(c.Lost, "packet"))
	}
	if c.Missed > 0 {
		text += fmt.Sprintf("\n%s of media missed: more was captured than signalling can take", number(c.Missed, "packet"))
	}
	return text + "\n"
}

func number(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.FormatUint(n, 10) + " " + what + "s"
}

// row is a capture's line of `sbc status`.
func (c *Capture) row(zone *time.Location) []string {
	text := fmt.Sprintf("%d: %s %s by uid %d since %s, %s, %s of media", c.ID, c.What, printable(c.Subject), c.UID, clock(c.Since, zone),
		number(c.SIP, "SIP message"), number(c.RTP, "packet"))
	if n := c.Lost + c.Missed; n > 0 {
		text += fmt.Sprintf(", %d lost", n)
	}
	return []string{"capture", text}
}
