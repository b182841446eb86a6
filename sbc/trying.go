package sbc

import (
	"bytes"
	"context"
	"encoding/json"
	"hash/maphash"
	"net/netip"
	"time"

	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/api"
	"sallyport/sbc/config"
	"sallyport/sbc/names"
	"sallyport/sbc/scan"
)

// TestMessage says what the rules would do with a message. It charges nobody.
func (c control) TestMessage(_ context.Context, q api.PolicyTest) (api.PolicyVerdict, error) {
	return tryMessage(c.now(), c.guard, c.snap.Load(), q)
}

// TryMessage says what the rules of a configuration would do with a message to a gate that has just been started, with
// no phone registered and nothing charged.
func TryMessage(snap *config.Snapshot, q api.PolicyTest) (api.PolicyVerdict, error) {
	now := time.Now()
	w := newWorld(names.LookedUp(context.Background(), snap, nil), nil, nil)
	src := newSources(&Options{Now: time.Now, StateDir: snap.StateDir}, nil)
	found, err := src.prepare(context.Background(), snap)
	if err != nil {
		return api.PolicyVerdict{}, err
	}
	rules, err := policy.Compile(snap.Policy.Guard(), found.data)
	if err != nil {
		return api.PolicyVerdict{}, err
	}
	guard, err := policy.New(policy.Options{Now: now, Seed: maphash.MakeSeed(), Rules: rules})
	if err != nil {
		return api.PolicyVerdict{}, err
	}
	guard.SetPeers(w.guardPeers())
	guard.SetInterfaces(w.faces())
	return tryMessage(now, guard, snap, q)
}

func tryMessage(now time.Time, guard *policy.Guard, snap *config.Snapshot, q api.PolicyTest) (api.PolicyVerdict, error) {
	var out api.PolicyVerdict
	source, err := sourceOf(q.Source)
	if err != nil {
		return out, err
	}
	face, err := listenerOf(snap, source.Addr(), q)
	if err != nil {
		return out, err
	}
	p := policy.Packet{Now: now, Interface: face, Source: source, Data: onTheWire(q.Message), View: new(scan.View)}
	p.ScanErr = scan.Scan(p.Data, p.View)
	trial := guard.Try(now, &p)
	out.Allowed, out.Text = trial.Action == policy.Allow.String(), trial.Text()
	out.Detail, err = json.Marshal(trial)
	return out, err
}

// sourceOf reads an address, with or without a port.
func sourceOf(s string) (netip.AddrPort, error) {
	if at, err := netip.ParseAddrPort(s); err == nil {
		return at, nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.AddrPort{}, api.BadRequest("write an address such as 198.51.100.7, or with a port 198.51.100.7:5060", "the source %q is neither an address nor an address with a port", s)
	}
	return netip.AddrPortFrom(a, 5060), nil
}

// listenerOf is the listener that a message is tried at.
func listenerOf(snap *config.Snapshot, source netip.Addr, q api.PolicyTest) (*nat.Interface, error) {
	for i := range snap.Interfaces {
		f := &snap.Interfaces[i]
		if f.Side.String() == q.Side && f.Realm.String() == q.Realm && f.Transport.String() == q.Transport &&
			f.Bind.Addr().Is4() == source.Unmap().Is4() {
			return f, nil
		}
	}
	return nil, api.BadRequest("`sbc status` lists the listeners", "nobody listens for %s at %s/%s on the address family of %s", q.Transport, q.Side, q.Realm, source)
}

// onTheWire gives a message from an editor the line ends of RFC 3261 §7, if it has none; what has them stays as it is.
func onTheWire(message []byte) []byte {
	if bytes.Contains(message, []byte("\r\n")) {
		return message
	}
	out := bytes.ReplaceAll(message, []byte("\n"), []byte("\r\n"))
	if !bytes.Contains(out, []byte("\r\n\r\n")) {
		out = append(bytes.TrimRight(out, "\r\n"), "\r\n\r\n"...)
	}
	return out
}
