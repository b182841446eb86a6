package resolve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// System asks the name servers of this machine: those of /etc/resolv.conf, which is read anew when it changes, after a look into
// /etc/hosts. It asks over UDP, and over TCP where an answer does not fit. The zero value is ready.
type System struct {
	// Conf and Hosts are the files; "": /etc/resolv.conf and /etc/hosts.
	Conf, Hosts string
	// Ask asks one server; nil: over the network.
	Ask func(ctx context.Context, network, server string, q *dns.Msg) (*dns.Msg, error)

	mu      sync.Mutex
	conf    file
	hosts   file
	servers []string
	names   map[string][]net.IP
	looked  time.Time
	bad     map[string]time.Time // servers that did not answer, and until when others go first
}

// file is what tells that a file has changed.
type file struct {
	at   time.Time
	size int64
	err  error
}

const (
	oneTry      = time.Second      // that a server has to answer
	tries       = 2                // of each server
	badFor      = 30 * time.Second // a silent server is asked last
	lookEvery   = time.Second      // at the files
	payload     = 1232             // bytes of a datagram that pass everywhere (DNS flag day 2020)
	serversRead = 3                // of resolv.conf, as resolvers do (resolv.conf(5), MAXNS)
	hostsMost   = 1 << 20          // bytes of /etc/hosts
	hostsTTL    = 60               // seconds
)

// Exchange answers from /etc/hosts, else asks one server after the other until one says something useful.
func (s *System) Exchange(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
	servers, ips := s.look(q)
	if ips != nil {
		return fromHosts(q, ips), nil
	}
	if len(servers) == 0 {
		return nil, errors.New("no name server is configured: see /etc/resolv.conf")
	}
	q.SetEdns0(payload, false)
	var last error
	for range tries {
		for _, server := range servers {
			reply, err := s.one(ctx, server, q)
			switch {
			case ctx.Err() != nil:
				if last == nil {
					last = fmt.Errorf("no answer from %s", server)
				}
				return nil, last
			case err != nil:
				last = fmt.Errorf("no answer from %s: %w", server, err)
				s.note(server, time.Now().Add(badFor))
			case reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError:
				last = fmt.Errorf("%s says %s", server, rcodeText(reply.Rcode)) // another may know better
			default:
				s.note(server, time.Time{})
				return reply, nil
			}
		}
	}
	return nil, last
}

// one asks one server, by TCP if the answer does not fit a datagram (RFC 7766 §5), and without EDNS if the server does not know it
// (RFC 6891 §7).
func (s *System) one(ctx context.Context, server string, q *dns.Msg) (*dns.Msg, error) {
	ask := s.Ask
	if ask == nil {
		ask = overNetwork
	}
	ctx, cancel := context.WithTimeout(ctx, oneTry)
	defer cancel()
	reply, err := ask(ctx, "udp", server, q)
	if err == nil && (reply.Rcode == dns.RcodeFormatError || reply.Rcode == dns.RcodeNotImplemented) && q.IsEdns0() != nil {
		bare := q.Copy()
		bare.Extra = nil
		q = bare
		reply, err = ask(ctx, "udp", server, q)
	}
	if err == nil && reply.Truncated {
		reply, err = ask(ctx, "tcp", server, q)
	}
	if err != nil {
		return nil, err
	}
	return reply, answers(q, reply)
}

// answers refuses a reply to another question: whoever guesses a port and an id must guess what was asked as well (RFC 5452 §9.1).
func answers(q, reply *dns.Msg) error {
	if !reply.Response || reply.Id != q.Id || len(reply.Question) != 1 || reply.Question[0].Qtype != q.Question[0].Qtype ||
		!strings.EqualFold(reply.Question[0].Name, q.Question[0].Name) {
		return errors.New("a reply to another question")
	}
	return nil
}

// overNetwork asks a server from a port of its own each time.
func overNetwork(ctx context.Context, network, server string, q *dns.Msg) (*dns.Msg, error) {
	c := dns.Client{Net: network, UDPSize: payload, Timeout: oneTry}
	reply, _, err := c.ExchangeContext(ctx, q, server)
	return reply, err
}

// note remembers how a server did.
func (s *System) note(server string, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bad == nil {
		s.bad = map[string]time.Time{}
	}
	s.bad[server] = until
}

// look reads the files where they have changed. It returns the servers in the order to ask, or the addresses that the machine
// itself knows.
func (s *System) look(q *dns.Msg) (servers []string, ips []net.IP) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.looked.IsZero() || now.Sub(s.looked) >= lookEvery || now.Before(s.looked) {
		s.looked = now
		s.read()
	}
	if one := q.Question[0]; one.Qtype == dns.TypeA || one.Qtype == dns.TypeAAAA {
		ips = s.names[plain(dns.CanonicalName(one.Name))]
	}
	var late []string
	for _, server := range s.servers {
		if now.Before(s.bad[server]) {
			late = append(late, server)
		} else {
			servers = append(servers, server)
		}
	}
	return append(servers, late...), ips
}

func (s *System) read() {
	if path, changed := s.conf.changed(s.Conf, "/etc/resolv.conf"); changed {
		s.servers, s.bad = nil, nil
		if c, err := dns.ClientConfigFromFile(path); err == nil {
			for _, server := range c.Servers[:min(len(c.Servers), serversRead)] {
				s.servers = append(s.servers, net.JoinHostPort(server, c.Port))
			}
		}
	}
	if path, changed := s.hosts.changed(s.Hosts, "/etc/hosts"); changed {
		s.names = readHosts(path)
	}
}

// changed reports whether a file is another than the last time.
func (f *file) changed(path, usual string) (string, bool) {
	if path == "" {
		path = usual
	}
	var is file
	if info, err := os.Stat(path); err == nil {
		is.at, is.size = info.ModTime(), info.Size()
	} else {
		is.err = err
	}
	if f.at.Equal(is.at) && f.size == is.size && (f.err == nil) == (is.err == nil) {
		return path, false
	}
	*f = is
	return path, true
}

// readHosts reads hosts(5): an address and its names in each line.
func readHosts(path string) map[string][]net.IP {
	out := map[string][]net.IP{}
	info, err := os.Stat(path)
	if err != nil || info.Size() > hostsMost {
		return out
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return out
	}
	for line := range strings.Lines(string(data)) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		ip := net.ParseIP(fields[0])
		if ip == nil {
			continue
		}
		for _, name := range fields[1:] {
			name = plain(strings.ToLower(name))
			out[name] = append(out[name], ip)
		}
	}
	return out
}

// fromHosts makes an answer of what the machine itself knows. A name that stands there has no other address.
func fromHosts(q *dns.Msg, ips []net.IP) *dns.Msg {
	m := new(dns.Msg)
	m.SetReply(q)
	one := q.Question[0]
	head := dns.RR_Header{Name: one.Name, Rrtype: one.Qtype, Class: dns.ClassINET, Ttl: hostsTTL}
	for _, ip := range ips {
		switch v4 := ip.To4(); {
		case v4 != nil && one.Qtype == dns.TypeA:
			m.Answer = append(m.Answer, &dns.A{Hdr: head, A: v4})
		case v4 == nil && one.Qtype == dns.TypeAAAA:
			m.Answer = append(m.Answer, &dns.AAAA{Hdr: head, AAAA: ip})
		}
	}
	return m
}
