package sbc

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"sallyport/media"
	"sallyport/media/process"
	"sallyport/media/sim"
	"sallyport/media/steer"
	"sallyport/sbc/config"
)

// played is a back end that is only played.
type played struct {
	*sim.Backend
	name string
	lays process.MakeBoard
	err  error
}

func (p *played) String() string { return p.name }
func (p *played) Settle()        {}

func (p *played) Open(layout media.Layout, hears media.Listener) (*media.Board, error) {
	if p.lays != nil {
		if _, err := p.lays(layout, time.Now()); err != nil {
			return nil, err
		}
	}
	if p.err != nil {
		return nil, p.err
	}
	return p.Backend.Open(layout, hears)
}

// unavailable is what steer answers where it is not allowed.
func unavailable(why string) error { return fmt.Errorf("%w: %s", steer.ErrUnavailable, why) }

func TestTheCarrierIsTheOneThatIsAskedForOrTheBest(t *testing.T) {
	for name, c := range map[string]struct {
		wanted, preferred           media.Choice
		probe, steerFails, epollsIn error
		want                        string // what it calls itself
		fails, says                 string
		boards                      int
	}{
		"auto, allowed":                   {want: "steer", boards: 1},
		"auto, forbidden":                 {probe: unavailable("no CAP_BPF"), want: "epoll (not steer: ", says: "back end epoll, not steer: ", boards: 1},
		"auto, forbidden only when tried": {steerFails: unavailable("no CAP_BPF"), want: "epoll (not steer: ", says: "no CAP_BPF", boards: 1},
		"auto, no such address":           {steerFails: syscall.EADDRNOTAVAIL, fails: syscall.EADDRNOTAVAIL.Error(), boards: 1},
		"auto, neither":                   {probe: unavailable("no CAP_BPF"), epollsIn: syscall.EMFILE, fails: "too many open files; and not steer: ", says: "no CAP_BPF", boards: 1},
		"epoll":                           {wanted: media.Epoll, want: "epoll (not steer: media.backend is epoll)", boards: 1},
		"steer":                           {wanted: media.Steer, want: "steer", boards: 1},
		"steer, forbidden":                {wanted: media.Steer, probe: unavailable("no CAP_BPF"), fails: "steer is asked for and not possible: media/steer: unavailable: no CAP_BPF; change that, or write media.backend: auto"},
		"auto, the unit prefers epoll":    {preferred: media.Epoll, want: "epoll (not steer: the media process was started with --backend epoll)", boards: 1},
		"auto, the unit insists on steer": {preferred: media.Steer, probe: unavailable("no CAP_BPF"), fails: "not possible"},
		"the configuration goes first":    {wanted: media.Steer, preferred: media.Epoll, want: "steer", boards: 1},
	} {
		t.Run(name, func(t *testing.T) {
			laid, said := 0, ""
			board := once(func(layout media.Layout, base time.Time) (*media.Board, error) {
				laid++
				return media.NewBoard(layout, base), nil
			})
			play := func(name string, err error) func(process.MakeBoard) process.Carrier {
				return func(b process.MakeBoard) process.Carrier {
					return &played{Backend: sim.New(time.Now, nil), name: name, lays: b, err: err}
				}
			}
			probe := func(...netip.Addr) error { return c.probe }
			k := &carrier{
				preferred: c.preferred, board: board, say: func(text string) { said += text },
				kinds: kinds{probe: probe, steer: play("steer", c.steerFails), epoll: play("epoll", c.epollsIn)},
			}
			p, err := media.New(carrierConfig(c.wanted), k, 1)
			switch {
			case c.fails != "":
				if err == nil || !strings.Contains(err.Error(), c.fails) {
					t.Errorf("error %v, want %q", err, c.fails)
				}
				if err := k.Close(); err != nil || k.String() != "none" {
					t.Errorf("what never opened is %s and closes with %v", k, err)
				}
			case err != nil:
				t.Fatal(err)
			case !strings.HasPrefix(k.String(), c.want):
				t.Errorf("it is %q, want %q", k, c.want)
			default:
				if err := p.Close(); err != nil {
					t.Error(err)
				}
			}
			if !strings.Contains(said, c.says) || c.says == "" && said != "" || laid != c.boards {
				t.Errorf("said %q, %d boards", said, laid)
			}
		})
	}
}

func carrierConfig(wanted media.Choice) media.Config {
	a := netip.MustParseAddr("127.0.0.1")
	return media.Config{Addresses: [2]netip.Addr{a, a}, First: 30000, Last: 30009, Choice: wanted}
}

// The kernel's number must survive: signalling tries again where a predecessor still has the ports.
func TestTheCarrierKeepsTheCause(t *testing.T) {
	in := fmt.Errorf("binding: %w", syscall.EADDRINUSE)
	k := &carrier{say: func(string) {}, kinds: kinds{
		probe: func(...netip.Addr) error { return unavailable("no") },
		epoll: func(process.MakeBoard) process.Carrier { return &played{name: "epoll", err: in} },
	}}
	if _, err := media.New(carrierConfig(media.Auto), k, 1); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("%v", err)
	}
}

func TestWhatACarrierSaysOfItself(t *testing.T) {
	for text, want := range map[string][2]string{
		"steer": {"steer", ""},
		"":      {"", ""},
		"epoll (not steer: the process lacks CAP_BPF (systemd: …))": {"epoll", "the process lacks CAP_BPF (systemd: …)"},
		"epoll (not steer: the process la":                          {"epoll", "the log of the media process says why"},
		"epoll (not":                                                {"epoll", "the log of the media process says why"},
	} {
		if name, why := described(text); name != want[0] || why != want[1] {
			t.Errorf("%q: %q, %q", text, name, why)
		}
	}
}

func TestProbeRelay(t *testing.T) {
	a := netip.MustParseAddr("127.0.0.1")
	for _, c := range []struct {
		wanted       string
		refused      error
		backend, why string
		fails        bool
	}{
		{"auto", nil, "steer", "", false},
		{"auto", unavailable("no CAP_BPF"), "epoll", "no CAP_BPF", false},
		{"epoll", nil, "epoll", "steer would be possible", false},
		{"epoll", unavailable("no CAP_BPF"), "epoll", "no CAP_BPF", false},
		{"steer", nil, "steer", "", false},
		{"steer", unavailable("no CAP_BPF"), "", "no CAP_BPF", true},
	} {
		snap := &config.Snapshot{Media: config.Media{FirstPort: 30000, LastPort: 30009, Backend: c.wanted, Addresses: [2][]netip.Addr{{a}, {a}}}}
		probed := 0
		backend, why, err := probeRelay(snap, func(list ...netip.Addr) error {
			probed += len(list)
			return c.refused
		})
		if backend != c.backend || !strings.Contains(why, c.why) || (why == "") != (c.why == "") || (err != nil) != c.fails || probed != 2 {
			t.Errorf("%s, %v: %q, %q, %v", c.wanted, c.refused, backend, why, err)
		}
	}
	if got, _ := media.ParseChoice("none"); got != media.Auto {
		t.Error("a name that is none")
	}
}
