package sbc

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"sallyport/sbc/api"
)

// What somebody should look at, for the head of `sbc status`: whoever is woken at night reads one page, and it must not say that
// all is well while no node answers, no record can be written or the file on the disk is not what runs.

// CertificateSoon is how long before its end a certificate is told of: authorities of short ones renew them a month before.
const CertificateSoon = 14 * 24 * time.Hour

// peersTold bounds the addresses that are told one by one; `sbc trunks` and `sbc pbx` have all.
const peersTold = 8

// attention fills in what stands out, and how many trunks and nodes are well.
func (c control) attention(ctx context.Context, out *api.Status) error {
	nodes, err := c.Nodes(ctx)
	if err != nil {
		return err
	}
	trunks, err := c.Trunks(ctx)
	if err != nil {
		return err
	}
	for _, check := range (figures{c.SBC}).Ready(ctx) {
		if !check.OK && check.Name != "accepting" { // a drain has a line of its own
			out.Attention = append(out.Attention, api.Notice{What: check.Why})
		}
	}
	for i := range nodes {
		out.Peers.Nodes++
		if well(nodes[i].State) {
			out.Peers.NodesUp++
		}
		out.Attention = append(out.Attention, ofPeer("PBX node ", &nodes[i].Peer, nodes[i].Drained, "sbc pbx")...)
	}
	for i := range trunks {
		out.Peers.Trunks++
		t := &trunks[i]
		if well(t.State) && (t.Registration == nil || t.Registration.State == "registered") {
			out.Peers.TrunksUp++
		}
		out.Attention = append(out.Attention, ofTrunk(t)...)
	}
	if more := len(out.Attention) - peersTold; more > 1 {
		out.Attention = append(out.Attention[:peersTold], api.Notice{What: fmt.Sprintf("%d more of trunks and PBX nodes", more), Look: "sbc trunks, sbc pbx"})
	}
	out.Attention = append(out.Attention, c.ofFiles()...)
	out.Bans = c.guard.Bans().Len()
	return nil
}

func well(state string) bool { return state == "up" || state == "degraded" }

// ofTrunk is what stands out of a trunk: its registration, each address that is down.
func ofTrunk(t *api.Trunk) (out []api.Notice) {
	look := "sbc why " + api.Printable(t.Name)
	if r := t.Registration; r != nil && r.State != "registered" && r.Fails > 0 {
		out = append(out, api.Notice{What: fmt.Sprintf("trunk %s is not registered (%s)", t.Name, api.Printable(r.Answer)), Look: look})
	} else if t.Denied {
		out = append(out, api.Notice{What: "trunk " + t.Name + " refuses user name or password of our calls: other trunks are tried first", Look: look})
	}
	if t.Drained != nil {
		return append(out, api.Notice{What: "trunk " + t.Name + " is drained", Since: t.DrainedSince, Look: "sbc trunks undrain " + t.Name})
	}
	for i := range t.Peers {
		out = append(out, ofPeer("trunk "+t.Name+" at ", &t.Peers[i], nil, look)...)
	}
	if r := t.Refused; r != nil && len(r.List) > 0 {
		out = append(out, api.Notice{What: fmt.Sprintf("calls that may be those of trunk %s were refused: from %s", t.Name, r.List[0].Address), Look: look})
	}
	return out
}

// ofPeer is what stands out of one address.
func ofPeer(who string, p *api.Peer, drained *api.Drained, look string) []api.Notice {
	if p.Name != "" && p.Address == "" {
		return []api.Notice{{What: fmt.Sprintf("%s%s gets nothing: the name has no address yet (%s)", who, p.Name, api.Printable(p.NameError)), Look: look}}
	}
	who += p.Address
	switch {
	case drained != nil:
		return []api.Notice{{What: who + " is drained", Since: drained.DrainedSince, Look: "sbc pbx undrain " + p.Address}}
	case p.State == "down":
		return []api.Notice{{What: fmt.Sprintf("%s is down (%s)", who, api.Printable(p.Reason)), Since: p.Since, Look: look}}
	case p.State == "unknown" && p.Answer != "":
		return []api.Notice{{What: fmt.Sprintf("%s has never answered an OPTIONS (%s); calls are sent there all the same", who, api.Printable(p.Answer)), Look: look}}
	}
	return nil
}

// ofFiles is what stands out of what the program reads and writes.
func (c control) ofFiles() (out []api.Notice) {
	say := func(look, format string, args ...any) {
		out = append(out, api.Notice{What: fmt.Sprintf(format, args...), Look: look})
	}
	if c.files != nil {
		if n := c.files.Counters(); n.Failing || n.Lost > 0 {
			what := "call records were lost"
			if n.Failing {
				what = "call records cannot be written"
			}
			say("the disk or the rights of cdr.directory", "%s: %d wait in memory, %d lost", what, n.Waiting, n.Lost)
		}
	}
	var bindings *journal
	if k := c.assembly.phones.kept; k != nil {
		bindings = k.journal
	}
	for _, k := range []struct {
		*journal
		what string
	}{{bindings, "registrations"}, {c.bans.kept, "bans"}, {c.assembly.drains.kept, "drains"}, {c.open.kept, "open calls"}} {
		if k.fails() {
			say("the disk or the rights of state.directory", "%s cannot be kept: a restart forgets them", k.what)
		}
	}
	out = append(out, c.ofCertificates()...)
	if c.reloading.TryLock() {
		if c.trial != nil {
			say("sbc reload --keep", "the configuration is on trial and goes back by itself")
		}
		c.reloading.Unlock()
	}
	return append(out, c.ofConfiguration()...)
}

// ofConfiguration says whether what runs is what the file says.
func (c control) ofConfiguration() []api.Notice {
	path, read := c.snap.Load().Path(), time.UnixMilli(c.reloads.at.Load())
	changed := false
	if info, err := os.Stat(path); path != "" && err == nil {
		at := info.ModTime()
		changed = at.After(read) && !at.After(c.now())
	}
	var out []api.Notice
	if keys := c.waiting(); len(keys) > 0 {
		what := strings.Join(keys[:min(len(keys), 3)], ", ")
		if more := len(keys) - 3; more > 0 {
			what += fmt.Sprintf(" and %d more", more)
		}
		out = append(out, api.Notice{What: "changed, and not in force before a restart: " + what, Look: "sbc drain --wait 30m, then restart sbc"})
	}
	switch {
	case c.reloads.bad.Load():
		return append(out, api.Notice{What: "the last reload was refused: what runs is older than the file", Look: "sbc reload --diff"})
	case changed:
		return append(out, api.Notice{What: path + " was written after it was read", Look: "sbc reload --diff, then sbc reload"})
	}
	return out
}

// remindEvery is how often the log says again that a certificate ends: whoever reads logs alone has missed the first time.
const remindEvery = 24 * time.Hour

// remindOfCertificates says in the log which certificates end; last is when that was looked at, the result when it is.
func (s *SBC) remindOfCertificates(last time.Time) time.Time {
	now := s.now()
	if now.Sub(last) < remindEvery {
		return last
	}
	for _, n := range s.ofCertificates() {
		s.log.Warn(n.What + "\n  hint: " + n.Look)
	}
	return now
}

func (s *SBC) ofCertificates() (out []api.Notice) {
	ends := s.certificates.Load()
	if ends == nil {
		return nil
	}
	for name, at := range *ends {
		left := at.Sub(s.now())
		switch {
		case left < 0:
			out = append(out, api.Notice{What: "the certificate of " + name + " has expired: whoever looks at it does not connect", Since: at, Look: "renew it, then sbc reload"})
		case left < CertificateSoon:
			out = append(out, api.Notice{What: fmt.Sprintf("the certificate of %s ends in %d days", name, int(left.Hours()/24)), Look: "renew it, then sbc reload"})
		}
	}
	slices.SortFunc(out, func(a, b api.Notice) int { return strings.Compare(a.What, b.What) })
	return out
}
