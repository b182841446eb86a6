package sbc_test

import (
	"crypto/x509"

	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"sallyport/nat/natlab"
	"sallyport/nat/natlab/authority"
	"sallyport/sbc"
	"sallyport/sbc/api"
	"sallyport/sbc/config"
)

// TestWhyByWhatIsAtHand: an administrator asks by the extension of a phone that never came through, by the number that was dialled, by
// the name of a trunk, and by an address with its port.
func TestWhyByWhatIsAtHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		control := l.gate.Control(nil)
		stranger, itsp, pbx := l.wire(strangerAt), l.wire(providerAt), l.wire(pbxAt)
		stranger.send(phoneSocket, stranger.request("INVITE", phoneSocket, "100"))
		named := stranger.request("INVITE", phoneSocket, "100")
		named.From.URI.User = "itsp" // hides no trunk
		stranger.send(phoneSocket, named)
		stranger.quiet(time.Second)
		invite := withBody(itsp.request("INVITE", trunkSocket, "+4930123456"), sdpAt(providerAt.Addr(), 4000))
		itsp.send(trunkSocket, invite)
		arrived := pbx.want("INVITE")
		pbx.reply(arrived, 200, sdpAt(pbxAt.Addr(), 4002))
		final := itsp.want("200 INVITE")
		caller, callee := l.ends(itsp, pbx, trunkSocket, invite, arrived, final)
		itsp.send(trunkSocket, caller.within("ACK", 1))
		pbx.want("ACK")
		ask := func(subject string, allowed bool, want ...string) {
			t.Helper()
			w, err := control.Why(t.Context(), subject)
			if err != nil || w.Allowed != allowed || w.Subject != subject || !json.Valid(w.Detail) {
				t.Errorf("%s: %v, allowed %v", subject, err, w.Allowed)
			}
			for _, x := range want {
				if !strings.Contains(w.Text, x) {
					t.Errorf("%s: no %q in\n%s", subject, x, w.Text)
				}
			}
		}
		ask("030 123456", true, "→ +4930123456: in progress")
		ask("itsp", true, "itsp", "none of it has ended since")
		time.Sleep(5 * time.Second)
		hangup(caller, callee)
		time.Sleep(time.Minute)
		ask("030123456", true, "by trunk itsp: 200, talked 5 s, nothing heard from either side\n", "nothing at all came from outside", "nothing at all came from the PBX")
		ask("itsp", true, "STATE", "→ +4930123456 by trunk itsp: 200")
		ask(strangerAt.String(), false, "not-registered")
		// That of a stranger has the user of every request of the lab, and asks at the phones' listener.
		user := "4930555"
		ask(user+"@example.com", false, "NOT REGISTERED", "seen", strangerAt.String()+": INVITE of "+user, "drop, not-registered",
			"sbc why "+strangerAt.Addr().String()+" says what becomes of its requests")
		var gone *api.Error
		if _, err := control.Why(t.Context(), "999"); !errors.As(err, &gone) || !strings.Contains(gone.Hint, "999@example.com") {
			t.Errorf("%v %+v", err, gone)
		}
	})
}

// TestAttention: the head of the status names what stands out, and nothing else.
func TestAttention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "sbc.yaml")
		if err := os.WriteFile(path, []byte(labConfig), 0o600); err != nil {
			t.Fatal(err)
		}
		watched, logs := observer.New(zapcore.InfoLevel)
		l := newGate(t, labConfig, natlab.Options{Seed: 1}, func(o *sbc.Options) { o.Log = zap.New(watched) })
		defer l.close()
		control := l.gate.Control(nil)
		head := func() (out []string) {
			t.Helper()
			s, err := control.Status(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if s.Peers.Nodes != 2 || s.Peers.Trunks != 1 {
				t.Errorf("%+v", s.Peers)
			}
			for _, n := range s.Attention {
				out = append(out, n.What+" → "+n.Look)
			}
			return out
		}
		if got := head(); len(got) != 0 {
			t.Errorf("%q", got)
		}
		if _, err := control.DrainTrunk(t.Context(), "itsp", true, "uid 0"); err != nil {
			t.Fatal(err)
		}
		if got := head(); len(got) != 1 || got[0] != "trunk itsp is drained → sbc trunks undrain itsp" {
			t.Errorf("%q", got)
		}
		if _, err := control.DrainTrunk(t.Context(), "itsp", false, "uid 0"); err != nil {
			t.Fatal(err)
		}
		// A file that was read and refused, one that is newer than what runs, and one on trial.
		at := time.Now()
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
		snap := func() *config.Snapshot {
			s, report := config.Parse(path, []byte(rewritten(t, labConfig, "policy: { rate_limits: [] }", "policy: { rate_limits: [], bans: { points: 30 } }")), config.Flags{})
			if s == nil {
				t.Fatal(report.String())
			}
			return s
		}
		time.Sleep(time.Second)
		if _, _, err := l.gate.Revise(t.Context(), snap(), sbc.Careful{Trial: time.Hour}); err != nil {
			t.Fatal(err)
		}
		if got := head(); len(got) != 1 || !strings.Contains(got[0], "on trial") {
			t.Errorf("%q", got)
		}
		l.gate.Keep()
		if said := logs.FilterMessage("configuration reloaded: 1 changes").All(); len(said) != 1 || !strings.Contains(strings.Join(keysOf(said[0]), " "), "policy.bans") {
			t.Errorf("%+v", said)
		}
		time.Sleep(time.Minute)
		later := time.Now()
		if err := os.Chtimes(path, later, later); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := head(); len(got) != 1 || !strings.Contains(got[0], "sbc.yaml was written after it was read → sbc reload --diff") {
			t.Errorf("%q", got)
		}
		l.gate.NotReloaded()
		if got := head(); len(got) != 1 || !strings.Contains(got[0], "the last reload was refused") {
			t.Errorf("%q", got)
		}
		// Keys that keep the value of the start.
		r := l.revise(labConfig+"cdr: { keep: 30d }\n", api.ReloadRequest{})
		if text, ok := r.Text(time.UTC); !ok || !strings.HasSuffix(text, "reloaded\nnot in force before a restart: cdr.keep\n") {
			t.Errorf("%s", text)
		}
		if got := head(); len(got) != 1 || !strings.Contains(got[0], "changed, and not in force before a restart: cdr.keep → sbc drain") {
			t.Errorf("%q", got)
		}
		l.revise(labConfig, api.ReloadRequest{})
		if got := head(); len(got) != 0 {
			t.Errorf("%q", got)
		}
	})
}

// fullDisk keeps nothing.
type fullDisk struct{ err atomic.Pointer[error] }

func (d *fullDisk) Load(func(string, []byte)) error { return nil }
func (d *fullDisk) Close() error                    { return nil }

func (d *fullDisk) Put(map[string][]byte) error {
	if err := d.err.Load(); err != nil {
		return *err
	}
	return nil
}

// TestAttentionToTheDisk: what a restart would forget is told while it lasts.
func TestAttentionToTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &fullDisk{}
		l := newGate(t, labConfig, natlab.Options{Seed: 1}, func(o *sbc.Options) { o.Bans = disk })
		defer l.close()
		control := l.gate.Control(nil)
		told := func() string {
			t.Helper()
			s, err := control.Status(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return fmt.Sprint(s.Attention, s.Bans)
		}
		no := error(syscall.ENOSPC)
		disk.err.Store(&no)
		if _, err := control.AddBan(t.Context(), api.Ban{Address: "203.0.113.66"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := told(); !strings.Contains(got, "bans cannot be kept: a restart forgets them") || !strings.HasSuffix(got, "] 1") {
			t.Errorf("%s", got)
		}
		disk.err.Store(nil)
		time.Sleep(time.Minute)
		if got := told(); got != "[] 1" {
			t.Errorf("%s", got)
		}
	})
}

// keysOf are the keys that a line of the log names.
func keysOf(e observer.LoggedEntry) (out []string) {
	list, _ := e.ContextMap()["keys"].([]any)
	for _, x := range list {
		out = append(out, x.(string))
	}
	return out
}

// TestCertificateEndsInTheLog: a certificate that comes near its end while the program runs is told once a day.
func TestCertificateEndsInTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := authority.New("ends")
		cert, key := authority.Write(t, t.TempDir(), "gate", ca.Sign(x509.Certificate{DNSNames: []string{"gate.example"}, NotAfter: time.Now().Add(14*24*time.Hour + 12*time.Hour)}))
		watched, logs := observer.New(zapcore.WarnLevel)
		l := newGate(t, rewritten(t, labConfig, "trunks: { udp: 5080 } }\ninside", "trunks: { udp: 5080, tls: 5081 }, tls: { certificate: "+cert+", key: "+key+" } }\ninside"),
			natlab.Options{Seed: 1}, func(o *sbc.Options) { o.Log = zap.New(watched) })
		defer l.close()
		said := func() int { return logs.FilterMessageSnippet("the certificate of outside ends in 13 days").Len() }
		time.Sleep(23 * time.Hour)
		if said() != 0 {
			t.Error("it is told before it is due")
		}
		time.Sleep(2 * time.Hour)
		if said() != 1 {
			t.Errorf("told %d times in a day", said())
		}
	})
}
