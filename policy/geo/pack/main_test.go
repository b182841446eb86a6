package main

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sallyport/policy/geo"
)

// files writes a small tor-geoipdb.
func files(t *testing.T) (dir string, args []string) {
	dir = t.TempDir()
	for name, text := range map[string]string{
		"geoip":     "# Generated: Thu, 25 Jun 2026 04:33:59 GMT\n# Vendor: Test Project\n# License: CC BY-SA 4.0\n16777216,16777471,AU\n",
		"geoip6":    "# another head\n2001:db8::,2001:db8::ffff,JP",
		"copyright": "as you like it\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir, []string{"-o", filepath.Join(dir, "bin/countries.geo"), "-licence", filepath.Join(dir, "copyright"),
		filepath.Join(dir, "geoip"), filepath.Join(dir, "geoip6")}
}

func TestPack(t *testing.T) {
	dir, args := files(t)
	var out bytes.Buffer
	if err := run(args, &out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "2 ranges") || !strings.Contains(out.String(), "built 2026-06-25, Test Project") {
		t.Error(out.String())
	}
	packed, err := os.ReadFile(filepath.Join(dir, "bin/countries.geo"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := geo.Read(bytes.NewReader(packed), "x")
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{"1.0.0.9": "AU", "2001:db8::9": "JP", "192.0.2.1": ""} {
		if got := d.Country(netip.MustParseAddr(address)).String(); got != want {
			t.Errorf("%s: %q", address, got)
		}
	}
	terms, err := os.ReadFile(filepath.Join(dir, "bin/countries.geo.LICENCE"))
	if err != nil || !strings.Contains(string(terms), "CC BY-SA 4.0") || !strings.Contains(string(terms), "as you like it") {
		t.Errorf("%s %v", terms, err)
	}
	if d.Licence()+"\n" != string(terms) {
		t.Error("the file carries another licence")
	}
	var again bytes.Buffer
	if err := run(args, &again); err != nil {
		t.Fatal(err)
	}
	if second, _ := os.ReadFile(filepath.Join(dir, "bin/countries.geo")); !bytes.Equal(second, packed) {
		t.Error("the same data make another file")
	}
}

func TestPackFails(t *testing.T) {
	dir, args := files(t)
	missing := filepath.Join(dir, "missing")
	for _, bad := range [][]string{nil, {"-x"}, {missing}, {filepath.Join(dir, "copyright")}, {"-licence", missing, args[4]},
		{"-o", filepath.Join(dir, "geoip", "x"), args[4]}} {
		var out bytes.Buffer
		if err := run(bad, &out); err == nil || out.Len() > 0 {
			t.Errorf("%q: %v %s", bad, err, &out)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "bin")); err == nil {
		t.Error("something is left behind")
	}
}
