package tu

import "net/netip"

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
	if !a.IsValid() || len(s.Addrs) >= maxSecrets {
		return
	}
	for _, x := range s.Addrs {
		if x == a {
			return
		}
	}
	s.Addrs = append(s.Addrs, a)
}

// maxSecrets bounds each list: a peer that shows a new address in every message cannot grow a call.
const maxSecrets = 32

func addOnce(list []string, v string) []string {
	if v == "" || len(list) >= maxSecrets {
		return list
	}
	for _, x := range list {
		if x == v {
			return list
		}
	}
	return append(list, v)
}
