package sbc

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"sallyport/media"
	"sallyport/nat"
	"sallyport/sbc/config"
)

// Where no media process can be started, the gate carries media itself and says so.
func TestRelayFallsBack(t *testing.T) {
	sink, logs := observer.New(zap.InfoLevel)
	dir := t.TempDir()
	relay := NewRelay(RelayOptions{
		Socket: filepath.Join(dir, "media.sock"), Version: "test", Program: filepath.Join(dir, "none"), Log: zap.New(sink),
	})
	pid := os.Getpid()
	address := netip.AddrFrom4([4]byte{127, 70, byte(pid >> 8), byte(pid)})
	p, err := media.New(media.Config{Addresses: [2]netip.Addr{address, address}, First: 27000, Last: 27019}, relay, 1)
	if err != nil {
		t.Fatal(err)
	}
	if backendName(relay) != "epoll" || logs.FilterMessageSnippet("relayed by this process itself").Len() != 1 {
		t.Errorf("back end %s, log %v", backendName(relay), logs.All())
	}
	id, _, err := p.Reserve(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Point(id, nat.Outside, media.Want{RTP: netip.MustParseAddrPort("127.0.0.1:4000")}); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) { // a bound for failure
		if legs, _ := p.Stats(id); legs[nat.Outside].Remote.IsValid() {
			break
		}
		if time.Now().After(end) {
			t.Fatal("nothing is pointed")
		}
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestRelayConfig(t *testing.T) {
	a := netip.MustParseAddr("127.0.0.1")
	snap := &config.Snapshot{Media: config.Media{
		FirstPort: 20000, LastPort: 39999, Addresses: [2][]netip.Addr{{a}, {a}}, Timeout: 100 * time.Hour, DSCP: 46,
	}}
	relay := NewRelay(RelayOptions{Log: zap.NewNop()})
	cfg := relayConfig(snap, relay)
	if cfg.Workers < 1 || cfg.Silence > 24*time.Hour || cfg.Validate() != nil {
		t.Errorf("%+v", cfg)
	}
	if cfg := relayConfig(snap, nil); cfg.Workers != 0 {
		t.Errorf("a back end without workers has %d", cfg.Workers)
	}
	if err := relay.Close(); err != nil {
		t.Error(err)
	}
	if name := backendName(nil); name == "" {
		t.Error("no name")
	}
}
