package sbc_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat"
	"sallyport/nat/natlab"
	"sallyport/sbc/api"
	"sallyport/sbc/config"
	"sallyport/sbc/demo"
)

// revise reloads as `sbc reload` does.
func (l *lab) revise(yaml string, r api.ReloadRequest) api.ReloadResult {
	l.t.Helper()
	out, err := l.control(yaml).Reload(l.ctx, r)
	if err != nil {
		l.t.Fatal(err)
	}
	return out
}

func (l *lab) control(yaml string) api.Control {
	return l.gate.Control(func() (*config.Snapshot, config.Report) {
		return config.Parse("lab.yaml", []byte(yaml), config.Flags{})
	})
}

// TestPhonesAtAListenerThatClosesAreShutOut: a reload that moves or closes their port says so, and is refused like one whose rules
// refuse them.
func TestPhonesAtAListenerThatClosesAreShutOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newRoaming(t, roamingConfig, natlab.Options{Seed: 1})
		defer l.close()
		phone := l.phone(l.net.Host(addr("198.51.100.7")), "201", 5060, nat.UDP)
		if _, out := l.register(phone, demo.RegisterOptions{}); out.Code != 200 {
			t.Fatalf("%+v", out)
		}
		moved := rewritten(t, roamingConfig, "phones: { udp: 5060, tcp: 5060 }", "phones: { udp: 5070 }")
		dry := l.revise(moved, api.ReloadRequest{Diff: true})
		text, _ := dry.Text(time.UTC)
		for _, part := range []string{
			"warning: a reload would be refused", "shuts out phone 201@example.com (198.51.100.7): REGISTER draining by outside.phones: udp 203.0.113.10:5060 closes\n",
			"shuts out 1 of 1 registered phones\n",
		} {
			if !strings.Contains(text, part) {
				t.Errorf("no %q in\n%s", part, text)
			}
		}
		if r := l.revise(moved, api.ReloadRequest{}); !r.Refused || r.Applied {
			t.Errorf("%+v", r)
		}
		if r := l.revise(moved, api.ReloadRequest{Force: true}); !r.Applied {
			t.Errorf("forced: %+v", r)
		}
		if r := l.revise(rewritten(t, moved, "rate_limits: []", "rate_limits: [], black_list: [ 192.0.2.9 ]"), api.ReloadRequest{}); !r.Applied {
			t.Errorf("of a listener that has closed before: %+v", r)
		}
	})
}

// TestAReloadThatShutsOutIsRefused: a trunk, the PBX, the administrator's own address, or too many of the phones; --diff
// says so first, --force insists.
func TestAReloadThatShutsOutIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newRoaming(t, roamingConfig, natlab.Options{Seed: 1})
		defer l.close()
		for i := range 4 {
			user := fmt.Sprint(201 + i)
			host := l.net.Host(addr(fmt.Sprintf("198.51.%d.7", 100+i)))
			phone := l.phone(host, user, 5060, nat.UDP)
			if _, out := l.register(phone, demo.RegisterOptions{}); out.Code != 200 {
				t.Fatalf("%s: %+v", user, out)
			}
		}
		for _, c := range []struct {
			name, policy, session string
			refused               bool
			phones                int
			says                  string
		}{
			{"nothing to do with anybody", "black_list: [ 192.0.2.0/24 ]", "", false, 0, ""},
			{"a trunk", "black_list: [ 203.0.113.0/25 ]", "", true, 0, "shuts out trunk itsp (203.0.113.20): INVITE black-list"},
			{"the PBX", "black_list: [ 10.0.0.10 ]", "", true, 0, "shuts out node 10.0.0.10:5060"},
			{"the administrator", "black_list: [ 192.0.2.9 ]", "192.0.2.9", true, 0, "shuts out your own session (192.0.2.9)"},
			{"a quarter of the phones", "black_list: [ 198.51.100.0/24 ]", "", true, 1, "shuts out 1 of 4 registered phones"},
			{"all phones, by their name", "deny_user_agents: [ { match: phone } ]", "", true, 4, "phone 203@example.com"},
			{"a quarter, and more is allowed", "reload_guard: 25, black_list: [ 198.51.100.0/24 ]", "", false, 1, ""},
			{"all phones, for a trial in the shadow", "deny_user_agents: [ { match: phone, shadow: true } ]", "", false, 0, ""},
		} {
			yaml := rewritten(t, roamingConfig, "rate_limits: []", "rate_limits: [], "+c.policy)
			dry := l.revise(yaml, api.ReloadRequest{Diff: true, Session: c.session})
			if dry.Applied || dry.Phones != c.phones || (len(dry.Warnings) > 0 && strings.Contains(dry.Warnings[len(dry.Warnings)-1].Text, "would be refused")) != c.refused {
				t.Errorf("%s: diff %+v", c.name, dry)
			}
			r := l.revise(yaml, api.ReloadRequest{Session: c.session})
			text, ok := r.Text(time.UTC)
			if r.Refused != c.refused || r.Applied == c.refused || ok == c.refused || r.Phones != c.phones && c.refused || !strings.Contains(text, c.says) {
				t.Errorf("%s: %+v\n%s", c.name, r, text)
			}
			if c.refused {
				if r = l.revise(yaml, api.ReloadRequest{Session: c.session, Force: true}); !r.Applied {
					t.Errorf("%s: forced: %+v", c.name, r)
				}
			}
			if r = l.revise(roamingConfig, api.ReloadRequest{}); !r.Applied || len(r.Hits) > 0 {
				t.Errorf("%s: back: %+v", c.name, r)
			}
		}
	})
}

// TestAReloadOnTrialGoesBack unless somebody keeps it; a second trial goes back to what was kept last.
func TestAReloadOnTrialGoesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		with := func(list string) string {
			return rewritten(t, labConfig, "rate_limits: []", "rate_limits: [], black_list: [ "+list+" ]")
		}
		lists := func() (list string) {
			s, err := l.control("").Status(l.ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range s.Rules {
				if strings.HasPrefix(r.Path, "policy.black_list") {
					list += r.Name
				}
			}
			return list
		}
		expect := func(when, want string) {
			t.Helper()
			if got := lists(); got != want {
				t.Errorf("%s: black list %q, want %q", when, got, want)
			}
		}
		first := l.revise(with("192.0.2.1"), api.ReloadRequest{Confirm: "60s"})
		if !first.Applied || !first.Returns.Equal(time.Now().Add(time.Minute)) {
			t.Fatalf("%+v", first)
		}
		time.Sleep(59 * time.Second)
		expect("on trial", "192.0.2.1")
		time.Sleep(2 * time.Second)
		expect("after the trial", "")
		if err := l.control("").KeepReload(l.ctx); err == nil {
			t.Error("kept what has gone back")
		}

		l.revise(with("192.0.2.2"), api.ReloadRequest{Confirm: "60s"})
		time.Sleep(30 * time.Second)
		l.revise(with("192.0.2.3"), api.ReloadRequest{Confirm: "60s"})
		time.Sleep(45 * time.Second)
		expect("second trial, while the first one's time is over", "192.0.2.3")
		time.Sleep(20 * time.Second)
		expect("after the second trial", "")

		l.revise(with("192.0.2.4"), api.ReloadRequest{Confirm: "60s"})
		if err := l.control("").KeepReload(l.ctx); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Minute)
		expect("kept", "192.0.2.4")

		l.revise(with("192.0.2.5"), api.ReloadRequest{Confirm: "60s"})
		l.revise(with("192.0.2.6"), api.ReloadRequest{})
		time.Sleep(2 * time.Minute)
		expect("a trial that a plain reload ended", "192.0.2.6")
	})
}
