package config

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sallyport/nat/natlab/authority"
	"strings"
	"sync"
	"testing"
)

// testFile is a file that a configuration of a test may name.
type testFile struct {
	data []byte
	mode fs.FileMode
	err  error
}

// testFiles are the files of every test's machine, whatever the real one holds.
var testFiles = sync.OnceValue(func() map[string]testFile {
	chain, key := newPair("sbc.example.com")
	_, other := newPair("other.example.com")
	plain, plainKey := newPair("")
	return map[string]testFile{
		"/etc/sbc/tls.crt":         {data: chain, mode: 0o644},
		"/etc/sbc/tls.key":         {data: key, mode: 0o640},
		"/etc/sbc/both.pem":        {data: append(append([]byte{}, key...), chain...), mode: 0o600},
		"/etc/sbc/open.key":        {data: key, mode: 0o644},
		"/etc/sbc/other.key":       {data: other, mode: 0o600},
		"/etc/sbc/ca.crt":          {data: append([]byte("# our own authority\n"), chain...), mode: 0o644},
		"/etc/sbc/broken.crt":      {data: []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), mode: 0o644},
		"/etc/sbc/plain.pem":       {data: append(plainKey, plain...), mode: 0o600},
		"/etc/sbc/empty.pem":       {mode: 0o600},
		"/etc/ssl/private/tls.key": {err: fs.ErrPermission},
		"/usr/share/tor/geoip":     {mode: 0o644},
		"/etc/sbc/blocklist.txt":   {mode: 0o644},
		"/etc/sbc/itsp.secret":     {data: []byte("s3cret\n"), mode: 0o640},
		"/etc/sbc/open.secret":     {data: []byte("s3cret\n"), mode: 0o644},
		"/etc/sbc/two.secret":      {data: []byte("one\ntwo\n"), mode: 0o600},
		"/etc/sbc/empty.secret":    {data: []byte("\n"), mode: 0o600},
		"/etc/sbc/root.secret":     {err: fs.ErrPermission},
	}
})

// newPair makes a certificate for a name, or for none, with its key.
func newPair(name string) (chain, key []byte) {
	about := x509.Certificate{Subject: pkix.Name{CommonName: "gate"}}
	if name != "" {
		about.DNSNames = []string{name}
	}
	return authority.PEM((*authority.Authority)(nil).Sign(about))
}

// testDisk is the disk of every test's machine.
type testDisk struct{}

func (testDisk) read(path string) ([]byte, fs.FileMode, error) {
	f, ok := testFiles()[path]
	if !ok {
		return nil, 0, fs.ErrNotExist
	}
	return f.data, f.mode, f.err
}

func (d testDisk) probe(path string) error {
	_, _, err := d.read(path)
	return err
}

func (testDisk) environment(name string) string {
	return map[string]string{"TRUNK_PASSWORD": "of the environment"}[name]
}

// parseText parses with testFiles for the files that the text names.
func parseText(name string, data []byte, flags Flags) (*Snapshot, Report) {
	return parse(name, data, flags, testDisk{})
}

// TestReadFile: real files with their permissions; what never ends or is too large is refused.
func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode fs.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	plain := write("plain", "text", 0o604)
	link := filepath.Join(dir, "link")
	if err := os.Symlink(plain, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{plain, link} { // certbot gives links: the permissions are the target's
		data, mode, err := new(machine).read(path)
		if string(data) != "text" || mode.Perm() != 0o604 || err != nil {
			t.Errorf("%s: %q %v %v", path, data, mode, err)
		}
	}
	for path, want := range map[string]string{
		dir: "not an ordinary file", "/dev/zero": "not an ordinary file", filepath.Join(dir, "none"): "no such file",
		write("huge", strings.Repeat("x", maxFile+1), 0o600): "larger than 1MiB",
	} {
		if _, _, err := new(machine).read(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
		huge := strings.Contains(want, "larger") // of any size
		if err := new(machine).probe(path); (err == nil) != huge || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
	if _, _, err := new(machine).read(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// TestRealFilesAreRead: Load judges the files on this machine.
func TestRealFilesAreRead(t *testing.T) {
	dir := t.TempDir()
	chain, key := newPair("sbc.example.com")
	text := strings.NewReplacer("address: 203.0.113.10",
		"address: 203.0.113.10, tls: { certificate: "+dir+"/tls.crt, key: "+dir+"/tls.key }").Replace(valid)
	path := filepath.Join(dir, "sbc.yaml")
	for name, data := range map[string][]byte{"sbc.yaml": []byte(text), "tls.crt": chain, "tls.key": key} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	snap, report := Load(path, Flags{})
	if snap == nil || snap.TLS.Certificate != dir+"/tls.crt" || snap.TLS.Key != dir+"/tls.key" {
		t.Fatal(report.String())
	}
	if err := os.Chmod(dir+"/tls.key", 0o644); err != nil {
		t.Fatal(err)
	}
	if _, report = Load(path, Flags{}); !strings.Contains(report.String(), "open to every user of this machine (0644)") {
		t.Error(report.String())
	}
}
