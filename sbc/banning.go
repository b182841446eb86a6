package sbc

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/api"
)

// Bans are the bans in force.
func (c control) Bans(context.Context) ([]api.Ban, error) {
	var out []api.Ban
	for _, b := range c.guard.Bans().List(c.now()) {
		out = append(out, banShown(&b))
	}
	return out, nil
}

func banShown(b *policy.Ban) api.Ban {
	out := api.Ban{
		Address: b.Prefix.String(), Kind: "prefix", Port: b.Port, AoR: b.AoR, Realms: b.Scope, Since: b.Since, Until: b.Until,
		Comment: b.Reason, By: b.By, Count: b.Count, Evidence: b.Evidence,
	}
	if b.Prefix == policy.BanPrefix(b.Prefix.Addr()) {
		out.Kind = "address"
	}
	if b.Prefix.IsSingleIP() {
		out.Address = b.Prefix.Addr().String()
	}
	switch {
	case b.AoR != "":
		out.Kind = "user"
	case b.Port != 0:
		out.Kind = "port"
	}
	return out
}

// AddBan bans an address or a prefix.
func (c control) AddBan(ctx context.Context, ban api.Ban) (api.Ban, error) {
	entry, err := c.banOf(&ban)
	if err != nil {
		return ban, err
	}
	if !ban.Force {
		if err := c.mayBan(ctx, &entry, ban.Session); err != nil {
			return ban, err
		}
	}
	if err := c.guard.Bans().Add(c.now(), entry); err != nil {
		return ban, api.BadRequest("`sbc bans` lists the bans in force", "%v", err)
	}
	entry.Since, entry.Scope = c.now(), ban.Realms
	return banShown(&entry), nil
}

// banOf reads a request for a ban.
func (c control) banOf(ban *api.Ban) (policy.Ban, error) {
	now := c.now()
	p, err := banPrefix(ban.Address)
	switch {
	case err != nil:
		return policy.Ban{}, err
	case ban.Port != 0 || ban.AoR != "":
		return policy.Ban{}, api.BadRequest("name the address alone", "ports and users are banned from evidence only")
	case !ban.Until.IsZero() && !ban.Until.After(now):
		return policy.Ban{}, api.BadRequest("give a time to come, or none", "the ban would end at %s, which is past", ban.Until)
	}
	entry := policy.Ban{Prefix: p, Until: ban.Until, Since: now, Reason: ban.Comment, By: ban.By}
	for _, name := range ban.Realms {
		switch name {
		case nat.Phones.String():
			entry.Realms = append(entry.Realms, nat.Phones)
		case nat.Trunks.String():
			entry.Realms = append(entry.Realms, nat.Trunks)
		default:
			return entry, api.BadRequest("write phones or trunks", "no realm %q", name)
		}
	}
	return entry, nil
}

// mayBan refuses a ban by hand that shuts out a trunk, a node, the administrator's own session, or more phones than a reload
// may.
func (c control) mayBan(ctx context.Context, ban *policy.Ban, from string) error {
	session, err := sessionOf(from)
	if err != nil {
		return err
	}
	snap := c.snap.Load()
	subjects, known, err := c.subjects(ctx, snap, session)
	if err != nil {
		return err
	}
	out := &ShutOutError{Known: known, Hits: c.guard.BanImpact(c.now(), *ban, subjects)}
	for i := range out.Hits {
		if !out.Hits[i].Subject.Vital {
			out.Phones++
		}
	}
	if !out.tooMuch(snap) {
		return nil
	}
	return &api.Error{
		Status: http.StatusConflict, Hint: "ban a narrower prefix, or insist with --force",
		What: fmt.Sprintf("a ban of %s would shut out somebody who must not be\n%s", ban.Prefix, strings.TrimRight(api.HitsText(hitsOf(out.Hits), out.Phones, out.Known), "\n")),
	}
}

func sessionOf(from string) (a netip.Addr, err error) {
	if from == "" {
		return a, nil
	}
	if a, err = netip.ParseAddr(from); err != nil {
		err = api.BadRequest("leave it out", "the session %q is no address", from)
	}
	return a, err
}

func banPrefix(s string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, api.BadRequest("write an address such as 198.51.100.7, or a prefix such as 198.51.100.0/24", "%q is neither an address nor a prefix", s)
	}
	return policy.BanPrefix(a.Unmap().WithZone("")), nil
}

// RemoveBan lifts the bans of an address or a prefix, and forgets the points against it. Of a user it lifts those of him alone, at
// whatever address, and the pace of his credentials.
func (c control) RemoveBan(_ context.Context, address string) error {
	p, err := banPrefix(address)
	if err != nil {
		banned, slowed := c.guard.Bans().RemoveUser(address), c.guard.Unslow(address)
		if banned || slowed {
			return nil
		}
		return api.NotFound("`sbc bans` lists the bans in force; write an address, a prefix such as 198.51.100.0/24, or a user",
			"%q is no address, and no user of that name is banned or slowed", address)
	}
	if !c.guard.Bans().Remove(p) {
		return api.NotFound("`sbc bans` lists the bans in force", "%s is not banned", p)
	}
	return nil
}
