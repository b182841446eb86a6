package config

import (
	"sallyport/nat"
	"sallyport/sbc/tu"
)

// build resolves a valid document.
func build(path string, d *Document, from *origin) *Snapshot {
	return &Snapshot{
		Interfaces: interfaces(d),
		Told:       toldNames(d),
		Internal:   d.InternalRanges.Prefixes(),
		TLS:        TLS{Certificate: d.Outside.TLS.Certificate, Key: d.Outside.TLS.Key, ClientCA: d.Outside.TLS.ClientCA},
		Media:      buildMedia(d),
		PBX:        buildPBX(&d.PBX),
		Phones:     buildPhones(d),
		Trunks:     shaped(buildTrunks(d.Trunks), d),
		Routes:     buildRoutes(d),
		Groups:     buildGroups(d.TrunkGroups),
		Policy:     buildPolicy(d),
		Calls:      d.Limits.Calls,
		CallRate:   d.Limits.CallsPerSecond,
		CDR:        buildCDR(&d.CDR),
		StateDir:   d.State.Directory,
		Log:        Log{Level: d.Log.Level, Format: d.Log.Format, SecurityFile: d.Log.SecurityFile, SecuritySize: int64(d.Log.SecuritySize)},
		Drain:      d.DrainTimeout.Std(),
		Socket:     d.Admin.Socket,
		HTTP:       httpAddress(d.Admin.HTTP),
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
			told, name := a.Addr, ""
			if nat.Side(side) == nat.Outside {
				e, by := d.Outside.ExternalAddress.Of(a.Addr)
				if name = by; e.IsValid() {
					told = e
				}
			}
			m.Addresses[side] = append(m.Addresses[side], a.Addr)
			m.Advertised[side] = append(m.Advertised[side], told)
			m.Names[side] = append(m.Names[side], name)
		}
	}
	return m
}

func buildPBX(p *PBXSection) PBX {
	out := PBX{
		Domain: p.Domain, Sources: p.Sources.ranges().Prefixes(), SourceNames: p.Sources.names(), AttemptTimeout: p.AttemptTimeout.Std(), Limits: p.Limits, Pace: p.Pace, SRTP: srtpOf(p.SRTP),
		SessionTimer: p.SessionTimer.Std(), Account: buildAccount(&p.Credentials, p.Domain),
		Probe: Probe{Interval: p.Health.Interval.Std(), Failures: p.Health.Failures, Successes: p.Health.Successes},
	}
	for i, n := range p.Nodes {
		transport, _ := nat.ParseTransport(n.Transport)
		out.Nodes = append(out.Nodes, Node{
			Address: n.Address.AddrPort, Name: n.Address.Name, Entry: i, Transport: transport, Weight: n.Weight, Priority: n.Priority, Realms: realms(n.Realms), Calls: n.Capacity.Calls,
			Group: n.Group,
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
			Name: e.Name, Sources: effectiveSources(e).Prefixes(), MediaSources: e.MediaSources.ranges().Prefixes(),
			SourceNames: e.Sources.names(), MediaNames: e.MediaSources.names(), SourcesByPeers: len(e.Sources) == 0,
			External: e.ExternalAddress.Addr.Addr, ExternalName: e.ExternalAddress.Name, Symmetric: e.Symmetric, RingTimeout: e.RingTimeout.Std(), SRTP: srtpOf(e.SRTP), DTMF: dtmfOf(e.DTMF),
			Transfer: transferOf(e.Transfer), Referral: transferOf(e.Referral), Redirect: redirectOf(e.Redirect),
			Codecs: e.Codecs, SessionTimer: e.SessionTimer.Std(), MaxCall: e.MaxCall.Std(),
			Probe: Probe{Interval: e.Keepalive.Interval.Std(), Failures: e.Keepalive.Failures, Successes: e.Keepalive.Successes},
		}
		if e.Keepalive.Method == "none" {
			t.Probe.Interval = 0
		}
		t.Probe.CRLF = e.Keepalive.Method == "crlf"
		for j, p := range e.places() {
			transport, _ := nat.ParseTransport(p.Transport)
			t.Peers = append(t.Peers, Peer{Address: p.Address.AddrPort, Name: p.Address.Name, Entry: j, Transport: transport, Weight: p.Weight, Priority: p.Priority})
		}
		t.Registration, t.TLS = buildRegistration(e), buildTrunkTLS(&e.TLS)
		buildManners(&t, e)
		t.Account = buildAccount(&e.Credentials, e.realm())
		if len(e.Peers) > 0 {
			if t.Host = e.Peers[0].Address.Name.Host; t.Host == "" {
				t.Host = e.Peers[0].Address.Addr().String()
			}
		}
		t.Capacity = buildCapacity(e.Capacity)
		t.Rules = buildRules(&e.Headers, &e.Numbers, e.Identity.account(&e.Registration), &e.Codes)
		buildPlace(&t, e)
		for _, m := range e.Outbound.Match {
			t.Outbound = append(t.Outbound, m.Regexp())
		}
		out = append(out, t)
	}
	return out
}
