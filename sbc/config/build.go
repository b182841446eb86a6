package config

import (
	"sallyport/nat"
	"sallyport/sbc/tu"
)

// build resolves a valid document.
func build(path string, d *Document, from *origin) *Snapshot {
	return &Snapshot{
		Interfaces: interfaces(d),
		Internal:   d.InternalRanges.Prefixes(),
		TLS:        TLS{Certificate: d.Outside.TLS.Certificate, Key: d.Outside.TLS.Key, ClientCA: d.Outside.TLS.ClientCA},
		Media:      buildMedia(d),
		PBX:        buildPBX(&d.PBX),
		Phones:     buildPhones(d),
		Trunks:     buildTrunks(d.Trunks),
		Policy:     buildPolicy(d),
		Calls:      d.Limits.Calls,
		CallRate:   d.Limits.CallsPerSecond,
		CDR:        buildCDR(&d.CDR),
		StateDir:   d.State.Directory,
		Log:        Log{Level: d.Log.Level, Format: d.Log.Format, SecurityFile: d.Log.SecurityFile, SecuritySize: int64(d.Log.SecuritySize)},
		Drain:      d.DrainTimeout.Std(),
		Socket:     d.Admin.Socket,
		doc:        d,
		path:       path,
		from:       from,
	}
}

func buildMedia(d *Document) Media {
	m := Media{
		FirstPort: d.Media.Ports.First, LastPort: d.Media.Ports.Last,
		Timeout: d.Media.Timeout.Std(), Hold: d.Media.HoldTimeout.Std(), DSCP: d.Media.DSCP, Backend: d.Media.Backend, Latency: d.Media.Latency,
	}
	for side, addrs := range [2]Addrs{nat.Outside: d.Outside.Address, nat.Inside: d.Inside.Address} {
		for _, a := range addrs {
			told := a.Addr
			if nat.Side(side) == nat.Outside {
				if e, ok := d.Outside.ExternalAddress.Of(a.Addr); ok {
					told = e
				}
			}
			m.Addresses[side] = append(m.Addresses[side], a.Addr)
			m.Advertised[side] = append(m.Advertised[side], told)
		}
	}
	return m
}

func buildPBX(p *PBXSection) PBX {
	out := PBX{
		Domain: p.Domain, Sources: p.Sources.Prefixes(), AttemptTimeout: p.AttemptTimeout.Std(), Limits: p.Limits, SRTP: srtpOf(p.SRTP),
		SessionTimer: p.SessionTimer.Std(),
		Probe:        Probe{Interval: p.Health.Interval.Std(), Failures: p.Health.Failures, Successes: p.Health.Successes},
	}
	for _, n := range p.Nodes {
		transport, _ := nat.ParseTransport(n.Transport)
		out.Nodes = append(out.Nodes, Node{
			Address: n.Address.AddrPort, Transport: transport, Weight: n.Weight, Priority: n.Priority, Realms: realms(n.Realms),
		})
	}
	return out
}

func srtpOf(word string) tu.SRTP {
	return map[string]tu.SRTP{"off": tu.SRTPOff, "optional": tu.SRTPOptional, "required": tu.SRTPRequired}[word]
}

func dtmfOf(word string) tu.DTMF {
	return map[string]tu.DTMF{"pass": tu.DTMFPass, "rfc4733": tu.DTMFEvents, "info": tu.DTMFInfo}[word]
}

func transferOf(word string) tu.Transfer {
	return map[string]tu.Transfer{"pass": tu.TransferPass, "local": tu.TransferLocal, "reject": tu.TransferReject}[word]
}

func redirectOf(word string) tu.Redirect {
	return map[string]tu.Redirect{"pass": tu.RedirectPass, "follow": tu.RedirectFollow, "reject": tu.RedirectReject}[word]
}

func realms(names []string) (out [2]bool) {
	for _, n := range names {
		for _, r := range [2]nat.Realm{nat.Phones, nat.Trunks} {
			out[r] = out[r] || r.String() == n
		}
	}
	return out
}

func buildTrunks(list []TrunkEntry) []Trunk {
	var out []Trunk
	for i := range list {
		e := &list[i]
		t := Trunk{
			Name: e.Name, Sources: effectiveSources(e).Prefixes(), MediaSources: e.MediaSources.Prefixes(),
			External: e.ExternalAddress.Addr, Symmetric: e.Symmetric, RingTimeout: e.RingTimeout.Std(), SRTP: srtpOf(e.SRTP), DTMF: dtmfOf(e.DTMF),
			Transfer: transferOf(e.Transfer), Referral: transferOf(e.Referral), Redirect: redirectOf(e.Redirect),
			Codecs: e.Codecs, SessionTimer: e.SessionTimer.Std(), MaxCall: e.MaxCall.Std(),
			Probe: Probe{Interval: e.Keepalive.Interval.Std(), Failures: e.Keepalive.Failures, Successes: e.Keepalive.Successes},
		}
		if e.Keepalive.Method == "none" {
			t.Probe.Interval = 0
		}
		for _, p := range e.Peers {
			transport, _ := nat.ParseTransport(p.Transport)
			t.Peers = append(t.Peers, Peer{Address: p.Address.AddrPort, Transport: transport, Weight: p.Weight, Priority: p.Priority})
		}
		t.Rules = buildRules(&e.Headers, &e.Numbers, &e.Identity, &e.Codes)
		for _, m := range e.Outbound.Match {
			t.Outbound = append(t.Outbound, m.Regexp())
		}
		out = append(out, t)
	}
	return out
}
