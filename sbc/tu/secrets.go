package tu

import (
	"net/netip"

	"sallyport/sbc/message"
)

// Secrets is what one leg of a call brought in and the other leg may not show: the leak guard looks for it. Its user
// fills it; the guard only reads.
type Secrets struct {
	Hosts []string     // names and address literals of Via, Contact, Record-Route, Warning
	Addrs []netip.Addr // addresses of its SDP and its packet source
	IDs   []string     // Call-IDs, tags, branches
}

// AddHost notes a host, once.
func (s *Secrets) AddHost(h string) { s.Hosts = addOnce(s.Hosts, h) }

// AddID notes a Call-ID, tag or branch, once.
func (s *Secrets) AddID(id string) { s.IDs = addOnce(s.IDs, id) }

// AddAddr notes an address, once.
func (s *Secrets) AddAddr(a netip.Addr) {
	if !a.IsValid() || len(s.Addrs) >= SecretsMost {
		return
	}
	for _, x := range s.Addrs {
		if x == a {
			return
		}
	}
	s.Addrs = append(s.Addrs, a)
}

// Notice notes what a message of a leg shows of its side: its ids and hosts, and where it came from. Of requests within a
// dialog the branches are left out: there are too many to note all.
func (s *Secrets) Notice(m *message.Message, source netip.Addr) {
	s.AddID(m.CallID)
	s.AddID(m.From.Tag)
	s.AddID(m.To.Tag)
	s.AddAddr(source.Unmap())
	if m.IsRequest() {
		for i := range m.Via {
			s.AddHost(m.Via[i].Host)
			if m.To.Tag == "" {
				s.AddID(m.Via[i].Branch)
			}
		}
	}
	if list, star, err := m.Contacts(); err == nil && !star {
		for i := range list {
			s.AddHost(list[i].URI.Host)
		}
	}
	if list, err := m.NameAddrs("Record-Route"); err == nil {
		for i := range list {
			s.AddHost(list[i].URI.Host)
		}
	}
}

// SecretsMost bounds each list: a peer that shows a new address in every message cannot grow a call.
const SecretsMost = 32

func addOnce(list []string, v string) []string {
	if v == "" || len(list) >= SecretsMost {
		return list
	}
	for _, x := range list {
		if x == v {
			return list
		}
	}
	return append(list, v)
}
