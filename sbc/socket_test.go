package sbc_test

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sallyport/media/sim"
	"sallyport/nat/natlab"
	"sallyport/sbc"
	"sallyport/sbc/api"
	"sallyport/sbc/config"
	"sallyport/sbc/transport"
)

// TestOverTheSocket: the program behind the real admin socket, in real time.
func TestOverTheSocket(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	network := natlab.New(natlab.Options{})
	defer network.Close()
	gate, err := sbc.New(parse(t, labConfig), sbc.Options{
		Version: "test", Relay: sim.New(nil, nil), Records: &ledger{},
		Listen: func(at netip.AddrPort) (transport.PacketConn, error) {
			return network.Host(at.Addr()).ListenUDP(at.Port())
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	running.Go(func() { gate.Run(ctx) })
	path := filepath.Join(t.TempDir(), "s")
	listener, err := api.Listen(ctx, []string{path})
	if err != nil {
		t.Fatal(err)
	}
	broken := false
	server := api.NewServer(api.Options{UID: api.OwnUID(), Control: gate.Control(func() (*config.Snapshot, config.Report) {
		if broken {
			return config.Parse("lab.yaml", []byte("outside: 1\ninsight: 2\n"), config.Flags{})
		}
		return config.Parse("lab.yaml", []byte(strings.Replace(labConfig, "example.com", "example.org", 1)), config.Flags{})
	})})
	running.Go(func() {
		if err := server.Serve(ctx, listener); err != nil {
			t.Error(err)
		}
	})
	client, err := api.Dial(ctx, []string{path})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()

	status, err := client.Status(ctx)
	if err != nil || status.Version != "test" || len(status.Interfaces) != 4 || status.Since.IsZero() || len(status.Audit) == 0 {
		t.Errorf("%v %+v", err, status)
	}
	if calls, err := client.Calls(ctx); err != nil || calls == nil || len(calls) != 0 {
		t.Errorf("%v %v", err, calls)
	}
	if trunks, err := client.Trunks(ctx); err != nil || len(trunks) != 1 || trunks[0].State != "unknown" {
		t.Errorf("%v %+v", err, trunks)
	}
	if nodes, err := client.Nodes(ctx); err != nil || len(nodes) != 2 || len(nodes[0].Realms) == 0 {
		t.Errorf("%v %+v", err, nodes)
	}
	var refused *api.Error
	if _, err := client.Call(ctx, "none"); !errors.As(err, &refused) || refused.Status != http.StatusNotFound {
		t.Errorf("no such call: %v", err)
	}
	ban, err := client.AddBan(ctx, api.Ban{Address: "198.51.100.7", Comment: "x", Until: time.Now().Add(time.Hour)})
	if err != nil || !strings.HasPrefix(ban.By, "uid ") || ban.Since.IsZero() {
		t.Errorf("%v %+v", err, ban)
	}
	if bans, err := client.Bans(ctx); err != nil || len(bans) != 1 || bans[0].By != ban.By || bans[0].Comment != "x" {
		t.Errorf("%v %+v", err, bans)
	}
	if why, err := client.Why(ctx, "198.51.100.7"); err != nil || why.Allowed || len(why.Detail) == 0 {
		t.Errorf("%v %+v", err, why)
	}
	if err := client.RemoveBan(ctx, "198.51.100.7"); err != nil {
		t.Error(err)
	}
	for _, dry := range []bool{true, false} {
		r, err := client.Reload(ctx, api.ReloadRequest{Diff: dry})
		if err != nil || r.Applied == dry || len(r.Changes) != 1 || r.Changes[0].When != "new calls" {
			t.Errorf("dry %v: %v %+v", dry, err, r)
		}
	}
	broken = true
	if r, err := client.Reload(ctx, api.ReloadRequest{}); err != nil || r.Applied || len(r.Errors) < 2 || !strings.Contains(r.Errors[0].Text, "lab.yaml:1:") {
		t.Errorf("%v %+v", err, r)
	}
	if d, err := client.Drain(ctx, time.Second); err != nil || d.Left != 0 {
		t.Errorf("%v %+v", err, d)
	}
	if status, err = client.Status(ctx); err != nil || !status.Draining {
		t.Errorf("%v %+v", err, status)
	}
}
