package transport

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"
	"unicode"

	"go.uber.org/zap"

	"sallyport/nat"
)

// trouble is why a connection of our own in a class could not be made. A probe of each second must not fill the log, nor one address's troubles
// hide those of another one: what is new of an address is told at once, and again after a minute.
type trouble struct {
	text  string
	since time.Time // of the minute
	told  []string  // in it
}

// The bounds of what is kept of them, and told.
const (
	troublesMost = 1024      // addresses; of more nothing is kept, and their troubles are told as the interface's
	toldMost     = 4         // different ones of an address in a minute
	textMost     = 300       // bytes
	stale        = time.Hour // for which nothing new has come: it may be of a class that nobody dials in any more
	namesMost    = 6         // of a certificate
)

// failed takes why a connection of our own could not be made: names and certificates are the administrator's to mend.
func (c *connection) failed(err error) {
	c.count.dialFailures.Add(1)
	if c.ended() != closing {
		c.complain(explain(err))
	}
}

// alerted hears how a connection of our own has ended. A server judges our certificate when we think that the handshake is over (RFC
// 8446 §4.4.2: with TLS 1.3 the client's is its last flight), and its alert is all that it ever says of it.
func (c *connection) alerted(err error) {
	if op := (*net.OpError)(nil); c.dialled && errors.As(err, &op) && op.Op == "remote error" {
		c.complain("it has ended the connection, and may not like our certificate: " + explain(err))
	}
}

// complain keeps what is wrong with an address, and logs it if it is new.
func (c *connection) complain(text string) {
	known, news := c.hub.troubled(c.flow(0), text, c.Now())
	fields := []zap.Field{zap.Stringer("dst", c.remote), zap.String("error", text)}
	switch {
	case !known:
		c.fault("cannot connect to a peer", fields...)
	case news:
		c.Log.Error("cannot connect to a peer", append(fields, zap.Stringer("side", c.face.Side), zap.Stringer("realm", c.face.Realm))...)
	}
}

// explain says what is wrong, in print: names of a certificate are a stranger's words.
func explain(err error) string {
	text := err.Error()
	if op := (*net.OpError)(nil); errors.As(err, &op) && op.Err != nil {
		text = op.Err.Error() // without the port, which is another one each time
	}
	if v := (*tls.CertificateVerificationError)(nil); errors.As(err, &v) && len(v.UnverifiedCertificates) > 0 {
		text = untrusted(v.UnverifiedCertificates[0], v.Err).Error()
		if host := (x509.HostnameError{}); errors.As(v.Err, &host) {
			text = differs(v.UnverifiedCertificates[0], []string{host.Host}).Error()
		}
	}
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
	if len(text) > textMost {
		text = strings.ToValidUTF8(text[:textMost], "") + "…"
	}
	return text
}

// differs says that a certificate is for other names than it should be for.
func differs(c *x509.Certificate, names []string) error {
	return fmt.Errorf("the certificate is for %s, and not for %s", listed(identities(c), ", ", "nobody"), listed(names, " or ", "anybody"))
}

// untrusted says whose certificate it is that is not believed.
func untrusted(c *x509.Certificate, why error) error {
	return fmt.Errorf("the certificate, for %s, does not count: %w", listed(identities(c), ", ", "nobody"), why)
}

// listed are the first of some names.
func listed(names []string, sep, none string) string {
	switch n := len(names); {
	case n == 0:
		return none
	case n > namesMost:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:namesMost], sep), n-namesMost)
	}
	return strings.Join(names, sep)
}

// troubled keeps what is wrong with an address: known tells that there was room for it, news that it is to be told.
func (h *hub) troubled(f nat.Flow, text string, now time.Time) (known, news bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.troubles[f]
	if t == nil {
		if len(h.troubles) >= troublesMost {
			maps.DeleteFunc(h.troubles, func(_ nat.Flow, t *trouble) bool { return t.text == "" || now.Sub(t.since) >= stale })
		}
		if len(h.troubles) >= troublesMost {
			return false, false
		}
		t = &trouble{since: now}
		h.troubles[f] = t
	}
	if now.Sub(t.since) >= time.Minute {
		t.since, t.told = now, nil
	}
	t.text = text
	if len(t.told) >= toldMost || slices.Contains(t.told, text) {
		return true, false
	}
	t.told = append(t.told, text)
	return true, true
}

// well hears that there is a connection. What has been told is kept: it may end as soon as it has begun.
func (h *hub) well(f nat.Flow) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t := h.troubles[f]; t != nil {
		t.text = ""
	}
}

// Trouble is why the last connection that was to be made on a flow, with Conn 0, could not be made, or how the peer has ended it
// (RFC 8446 §6.2); "": nothing is wrong, or nothing was sent there yet. It is one line, in print, and short.
func (s *Set) Trouble(f nat.Flow) string {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	if t := s.hub.troubles[f]; t != nil {
		return t.text
	}
	return ""
}
