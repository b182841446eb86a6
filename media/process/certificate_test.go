//go:build linux

package process_test

import (
	"os"
	"os/exec"
	"testing"

	"sallyport/media"
	"sallyport/media/process"
)

// The certificate of handshakes goes from each media process to signalling, and from there to the next media process: it is the
// same as long as one of the two has it, whichever of them is started anew, and after both it is another one.
func TestCertificateGoesFromOneToTheOther(t *testing.T) {
	o, _ := options(t, t.TempDir())
	o.Program = ""
	standing := func() (end func()) {
		server := exec.Command(os.Args[0], o.Socket, "unit")
		server.Env = append(os.Environ(), roleVariable+"=unit")
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		return func() {
			_ = server.Process.Kill()
			_ = server.Wait()
		}
	}
	signalling := func() *media.Plane {
		var p *media.Plane
		until(t, "the process", func() (ok bool) {
			var err error
			p, err = media.New(config(25400), process.New(o), 1)
			return err == nil
		})
		t.Cleanup(func() { _ = p.Close() })
		return p
	}
	print := func(p *media.Plane) media.Fingerprint {
		t.Helper()
		f, ok := p.Fingerprint()
		if !ok {
			t.Fatal("no certificate")
		}
		return f
	}
	end := standing()
	p := signalling()
	first := print(p)
	for range 2 {
		renewals := p.Gauges().Renewals
		end()
		end = standing()
		until(t, "the next media process", func() bool { return p.Gauges().Renewals > renewals })
		if print(p) != first {
			t.Error("the next media process has another one")
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		p = signalling()
		if print(p) != first {
			t.Error("the next signalling process hears of another one")
		}
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	end()
	end = standing()
	defer func() { end() }()
	if print(signalling()) == first {
		t.Error("it is kept where nobody was left to keep it")
	}
	if info, err := os.Stat(o.Socket); err != nil || info.Mode().Perm() != 0o600 || info.Mode().Type() != os.ModeSocket {
		t.Errorf("what the key goes through: %v, %v", info.Mode(), err)
	}
}
