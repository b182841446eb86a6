package config

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"sallyport/nat"
	"sallyport/sbc/message"
)

// Bounds of what phones are asked for.
const (
	shortestExpiry = Duration(10 * time.Second)
	longestExpiry  = Duration(24 * time.Hour)
	shortestPing   = Duration(5 * time.Second)
	longestPing    = Duration(10 * time.Minute)
	// Mappings of real NATs end after 30 s to 2 minutes of silence, whatever RFC 4787 §4.3 asks for.
	patientNAT = Duration(time.Minute)
)

var headerRE = regexp.MustCompile(`^[A-Za-z0-9.!%_+~'-]{1,64}$`) // RFC 3261 §25.1 token, less what patterns are made of

// ourFields are header fields that the gate writes itself on each leg, or never shows: no phone's can be trusted.
var ourFields = []string{
	"Via", "Route", "Record-Route", "Path", "Service-Route", "Contact", "From", "To", "Call-ID", "CSeq", "Max-Forwards",
	"Content-Length", "Content-Type", "Server", "User-Agent", "Organization",
}

func (c *checker) phones() {
	p := &c.doc.Phones
	c.domains("phones.domains", p.Domains)
	c.span("phones.registration.outside", p.Registration.Outside, shortestExpiry, longestExpiry, "0 for as long as the PBX says")
	c.throttling(&p.Registration)
	c.span("phones.keepalive.interval", p.Keepalive.Interval, shortestPing, longestPing, "0 for none")
	c.trusted("phones.trusted_headers", p.TrustedHeaders)
	c.origins("phones.origins", p.Origins)
	c.ring("phones.ring_timeout", p.RingTimeout)
	c.sessions("phones.session_timer", p.SessionTimer)
	c.longest("phones.max_call", p.MaxCall)
	c.codecs("phones.codecs", p.Codecs)
	c.headers("phones.headers", &p.Headers)
	c.codes("phones.codes", &p.Codes)
	c.reachableUsers(p)
	if c.doc.Outside.Phones.ports() == (Ports{}) {
		return
	}
	c.doors()
	told := p.Registration.Outside
	if ping := p.Keepalive.Interval; ping > patientNAT || ping == 0 && (told == 0 || told > patientNAT) {
		c.warn("phones.keepalive.interval", "write 25s", "phones behind a NAT cannot be called once it has forgotten them, after a minute at most")
	}
}

// reachableUsers checks whom strangers may call.
func (c *checker) reachableUsers(p *PhonesSection) {
	const at = "phones.reachable"
	switch {
	case p.Unregistered != "forward" && len(p.Reachable) > 0:
		c.warn(at, "write unregistered: forward, or remove the list", "counts only where strangers' calls are forwarded; they are not: unregistered: %s",
			p.Unregistered)
	case p.Unregistered != "forward":
	case len(p.Reachable) == 0:
		c.fail(at, `write reachable: [ "1[0-9]{2}", info ] with the users whom strangers may call, or [ ".*" ] for everybody`,
			"missing: unregistered: forward would let strangers call whatever the PBX dials, the world included")
	default:
		c.warn("phones.unregistered", "right for a public number; see that the PBX asks for a password before it dials out",
			"forward: whoever finds this address may call %s", show(reflect.ValueOf(p.Reachable)))
	}
}

// doors warns where phones are let in and have nowhere to go.
func (c *checker) doors() {
	const what = "phones that knock at outside.phones cannot register: "
	serves := func(n NodeEntry) bool { return slices.Contains(n.Realms, nat.Phones.String()) }
	switch {
	case c.unread("inside") || c.unread("pbx.nodes"):
	case c.doc.Inside.Phones.ports() == (Ports{}):
		c.warn("outside.phones", "open inside.phones, or write outside: { phones: {} }", what+"inside.phones is closed")
	case len(c.doc.PBX.Nodes) > 0 && !slices.ContainsFunc(c.doc.PBX.Nodes, serves):
		c.warn("outside.phones", "add phones to the realms of a node, or write outside: { phones: {} }", what+"no node of pbx.nodes serves them")
	}
}

// domains checks the domains that are served besides pbx.domain.
func (c *checker) domains(path string, list []string) {
	var seen []string
	for i, name := range list {
		at, plain := index(path, i), plainDomain(name)
		switch {
		case isLiteral(name): // an address that phones know us by
		case len(name) > 253 || !domainRE.MatchString(name):
			c.fail(at, "write a domain such as example.com, or an address without brackets and port", "%q is not a domain", name)
		case plain == plainDomain(c.doc.PBX.Domain):
			c.warn(at, "remove it", "%q is pbx.domain, which is served anyway", name)
		}
		if slices.Contains(seen, plain) {
			c.fail(at, "remove it", "%q stands here twice", name)
		}
		seen = append(seen, plain)
	}
}

// span checks that a time is 0 or lies between two others.
func (c *checker) span(path string, d, low, high Duration, zero string) {
	if d != 0 && (d < low || d > high) {
		c.fail(path, fmt.Sprintf("write %s to %s, or %s", low, high, zero), "%s is out of range", d)
	}
}

// ring checks the bound of ringing.
func (c *checker) ring(path string, d Duration) {
	if d != 0 && d.Std() < time.Second {
		c.fail(path, "write 180s, or 0 for no limit of our own", "%s leaves no time to answer", d)
	}
}

// trusted checks the names of header fields.
func (c *checker) trusted(path string, list []string) {
	var seen []string
	for i, name := range list {
		at, canonical := index(path, i), message.CanonicalName(name)
		switch {
		case strings.Contains(name, "*"):
			c.fail(at, "write each name in full, such as X-Account", "%q is a pattern", name)
		case !headerRE.MatchString(name):
			c.fail(at, "write a name such as X-Account", "%q is not the name of a header field", name)
		case slices.Contains(ourFields, canonical):
			c.fail(at, "remove it", "%s is the gate's own to write or to hide: that of a phone never passes", canonical)
		case slices.Contains(seen, canonical):
			c.fail(at, "remove it", "%q stands here twice", name)
		}
		seen = append(seen, canonical)
	}
}
