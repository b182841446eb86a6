package sbc

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"sallyport/media"
	"sallyport/media/process"
	"sallyport/media/sim"
	"sallyport/nat"
	"sallyport/sbc/config"
)

// Where no media process can be started, the gate carries media itself and says so.
func TestRelayFallsBack(t *testing.T) {
	sink, logs := observer.New(zap.InfoLevel)
	dir := t.TempDir()
	gone := NewRelay(RelayOptions{
		Socket: filepath.Join(dir, "media.sock"), Version: "test", Program: filepath.Join(dir, "none"), Log: zap.New(sink),
	})
	gone.(*relay).kinds.probe = func(...netip.Addr) error { return unavailable("no CAP_BPF") }
	pid := os.Getpid()
	address := netip.AddrFrom4([4]byte{127, 70, byte(pid >> 8), byte(pid)})
	p, err := media.New(media.Config{Addresses: [2]netip.Addr{address, address}, First: 27000, Last: 27019}, gone, 1)
	if err != nil {
		t.Fatal(err)
	}
	if name := backendName(gone); !strings.HasPrefix(name, "epoll (not steer: ") || !strings.Contains(name, "no CAP_BPF)") || logs.FilterMessageSnippet("relayed by this process itself").Len() != 1 {
		t.Errorf("back end %s, log %v", backendName(gone), logs.All())
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

// Where there is no place for a media process, the gate carries media itself, on what the configuration asks for.
func TestRelayHere(t *testing.T) {
	sink, logs := observer.New(zap.InfoLevel)
	r := NewRelayHere(zap.New(sink), errors.New("nowhere")).(*relay)
	r.Post(media.Command{}) // nobody hears it
	if r.carried() != (carriedBy{}) || backendName(r) != "in a process that is lost" || r.Workers(5000) != 1 || r.Close() != nil {
		t.Errorf("before it is open: %+v, %s", r.carried(), r)
	}
	r.kinds = kinds{
		probe: func(...netip.Addr) error { return nil },
		steer: func(process.MakeBoard) process.Carrier {
			return &played{Backend: sim.New(time.Now, nil), name: "steer"}
		},
	}
	p, err := media.New(carrierConfig(media.Steer), r, 1)
	if err != nil {
		t.Fatal(err)
	}
	if r.carried().Backend != "steer" || backendName(r) != "steer" || logs.FilterMessageSnippet("audio stops").Len() != 1 {
		t.Errorf("%+v, %s, %v", r.carried(), r, logs.All())
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	r = NewRelayHere(zap.New(sink), errors.New("nowhere")).(*relay)
	r.kinds.probe = func(...netip.Addr) error { return unavailable("no CAP_BPF") }
	if _, err := media.New(carrierConfig(media.Steer), r, 1); !errors.Is(err, errSteer) {
		t.Errorf("steer that is asked for and forbidden: %v", err)
	}
}

func TestServeMediaKnowsItsBackEnds(t *testing.T) {
	if err := ServeMedia(t.Context(), MediaProcess{Backend: "fast"}); !errors.Is(err, ErrBackend) || !strings.Contains(err.Error(), "hint") {
		t.Errorf("%v", err)
	}
}

func TestRelayConfig(t *testing.T) {
	a := netip.MustParseAddr("127.0.0.1")
	snap := &config.Snapshot{Media: config.Media{
		FirstPort: 20000, LastPort: 39999, Addresses: [2][]netip.Addr{{a}, {a}}, Timeout: 100 * time.Hour, DSCP: 46, Backend: "steer", Latency: "low",
	}}
	relay := NewRelay(RelayOptions{Log: zap.NewNop()})
	cfg := relayConfig(snap, relay)
	if cfg.Choice != media.Steer || !cfg.LowLatency || cfg.Workers < 1 || cfg.Silence > 24*time.Hour || cfg.Validate() != nil {
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
