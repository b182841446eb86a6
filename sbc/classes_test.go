package sbc

import (
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sallyport/nat"
	"sallyport/nat/natlab/authority"
	"sallyport/sbc/config"
	"sallyport/sbc/transport"
)

// classTrunk is a trunk with a way by TLS to each host, "" for an address.
func classTrunk(name string, hosts ...string) config.Trunk {
	t := config.Trunk{Name: name}
	for _, host := range hosts {
		t.Peers = append(t.Peers, config.Peer{Name: config.Name{Host: host}, Transport: nat.TLS})
	}
	return t
}

// files are a tls section of its own.
func files(n byte, names ...string) *trunkTLS {
	return &trunkTLS{who: transport.Identity{Names: names, Roots: x509.NewCertPool()}, files: fingerprint{n}}
}

// TestClasses: trunks that want the same share a class, wherever it stands; whoever wants anything else has another one.
func TestClasses(t *testing.T) {
	registrar := config.Trunk{Name: "registers", Registration: &config.TrunkRegistration{Targets: classTrunk("", "sip.a.example").Peers}}
	snap := &config.Snapshot{Trunks: []config.Trunk{
		classTrunk("address"), classTrunk("address too", ""), classTrunk("a", "sip.a.example"), registrar, classTrunk("b", "sip.b.example"),
		classTrunk("both", "sip.a.example", "sip.b.example"),
		classTrunk("own", "sip.a.example", ""), classTrunk("own too", "sip.a.example"), classTrunk("other files", "sip.a.example"),
		classTrunk("named", "sip.a.example", ""), classTrunk("named otherwise", "sip.a.example"), classTrunk("calls in"),
	}}
	read := map[string]*trunkTLS{
		"own": files(1), "own too": files(1), "other files": files(2), "named": files(1, "x", "y"), "named otherwise": files(1, "y", "x"),
		"calls in": {who: transport.Identity{Names: []string{"sip.a.example"}}},
	}
	c := (*classes)(nil).next(snap, read)
	for _, tt := range []struct {
		name   string
		ways   []way // that have one class
		names  string
		trunks string
	}{
		{"addresses", []way{{"address", ""}, {"address too", ""}}, "", "address, address too"},
		{"a name", []way{{"a", "sip.a.example"}, {"registers", "sip.a.example"}, {"both", "sip.a.example"}, {"calls in", ""}}, "sip.a.example", "a, registers, both, calls in"},
		{"another name", []way{{"b", "sip.b.example"}, {"both", "sip.b.example"}}, "sip.b.example", "b, both"},
		{"files", []way{{"own", "sip.a.example"}, {"own too", "sip.a.example"}}, "sip.a.example", "own, own too"},
		{"files, by address", []way{{"own", ""}}, "", "own"},
		{"other files", []way{{"other files", "sip.a.example"}}, "sip.a.example", "other files"},
		{"names, whatever the peers are called", []way{{"named", "sip.a.example"}, {"named", ""}}, "x y", "named"},
		{"in another order: the first is asked for (SNI)", []way{{"named otherwise", "sip.a.example"}}, "y x", "named otherwise"},
	} {
		n := c.towards(tt.ways[0].trunk, tt.ways[0].host)
		for _, w := range tt.ways {
			if got := c.towards(w.trunk, w.host); got != n || n == 0 {
				t.Errorf("%s: %v has class %d, not %d", tt.name, w, got, n)
			}
		}
		if got := strings.Join(c.trunks(n), ", "); got != tt.trunks {
			t.Errorf("%s: of %s", tt.name, got)
		}
		who := c.identity(n)
		if got := strings.Join(who.Names, " "); got != tt.names {
			t.Errorf("%s: must prove to be %q", tt.name, got)
		}
		if one := !strings.Contains(tt.trunks, ","); one != (who.Peer != nil) || one && who.Peer.Name != tt.trunks {
			t.Errorf("%s: it is %v who speaks", tt.name, who.Peer)
		}
	}
	if len(c.of) != 8 || c.towards("own", "sip.z.example") != c.towards("own", "sip.a.example") || c.towards("nobody", "") != 0 {
		t.Errorf("%d classes", len(c.of))
	}
	if len(read["own"].who.Names) != 0 {
		t.Error("what was read has changed")
	}
	if none := (*classes)(nil); none.identity(1) != nil || none.trunks(1) != nil || none.towards("a", "") != 0 || c.identity(99) != nil || c.trunks(0) != nil {
		t.Error("what does not exist has no class")
	}
}

// TestClassesOverReloads: what stays as it is keeps its number, what changes has another one, and what began before goes on in its own.
// Where that needs a connection, its trunk's new settings count.
func TestClassesOverReloads(t *testing.T) {
	snap := &config.Snapshot{Trunks: []config.Trunk{classTrunk("a", "a.example"), classTrunk("b", "b.example"), classTrunk("c", "b.example")}}
	first := (*classes)(nil).next(snap, map[string]*trunkTLS{"a": files(1)})
	a, b := first.towards("a", "a.example"), first.towards("b", "b.example")

	same := first.next(snap, map[string]*trunkTLS{"a": files(1)})
	if same.towards("a", "a.example") != a || same.towards("b", "b.example") != b || same.towards("c", "b.example") != b || len(same.of) != 2 {
		t.Errorf("nothing has changed, and classes are %v", same.ways)
	}

	renewed := files(2)
	second := same.next(snap, map[string]*trunkTLS{"a": renewed, "b": files(3)})
	now := second.towards("a", "a.example")
	switch {
	case now == a || second.towards("b", "b.example") == b || second.towards("c", "b.example") != b:
		t.Errorf("classes are %v", second.ways)
	case second.identity(a).Roots != renewed.who.Roots || second.identity(a).Peer.Name != "a" || !slices.Equal(second.trunks(a), []string{"a"}):
		t.Errorf("a call of before may prove %+v", second.identity(a))
	case second.identity(b).Roots != nil || !slices.Equal(second.trunks(b), []string{"c"}):
		t.Errorf("what b leaves to c is %+v of %v", second.identity(b), second.trunks(b))
	}

	back := second.next(snap, map[string]*trunkTLS{"a": files(1)})
	if back.towards("a", "a.example") != a || back.of[now].retired == 0 || back.of[a].retired != 0 {
		t.Error("what comes back has its old number")
	}

	gone := back.next(&config.Snapshot{}, nil)
	if gone.identity(a).Names[0] != "a.example" || len(gone.trunks(b)) != 2 || gone.towards("a", "") != 0 {
		t.Error("of trunks that are gone what they were is kept")
	}

	parted := first.next(snap, map[string]*trunkTLS{"a": files(1), "b": files(4), "c": files(5)})
	if parted.identity(b).Roots != nil || len(parted.trunks(b)) != 2 {
		t.Error("which of the two asks, nobody knows: it stays as it was")
	}
}

// TestClassesAreBounded: files that change without end leave what has come last.
func TestClassesAreBounded(t *testing.T) {
	snap := &config.Snapshot{Trunks: []config.Trunk{classTrunk("a", "a.example")}}
	var c *classes
	for i := range 3 * retiredMost {
		c = c.next(snap, map[string]*trunkTLS{"a": {files: fingerprint{byte(i), byte(i >> 8), 1}}})
		n := c.towards("a", "a.example")
		if int(n) != i+1 || len(c.of) > retiredMost+1 || len(c.numbers) != len(c.of) {
			t.Fatalf("%d: class %d of %d", i, n, len(c.of))
		}
	}
	if c.identity(c.last-retiredMost) == nil || c.identity(c.last-retiredMost-1) != nil {
		t.Error("not the oldest is forgotten")
	}
}

// TestNumbersOfClasses: whatever configurations follow each other, two settings never have one number, and one pair of settings keeps its
// number from one to the next.
func TestNumbersOfClasses(t *testing.T) {
	host := rapid.SampledFrom([]string{"", "a", "b"})
	rapid.Check(t, func(t *rapid.T) {
		meant := map[uint32]string{}
		var c *classes
		before := map[string]uint32{}
		for range rapid.IntRange(1, 6).Draw(t, "configurations") {
			snap, read := &config.Snapshot{}, map[string]*trunkTLS{}
			for i := range rapid.IntRange(0, 4).Draw(t, "trunks") {
				tr := classTrunk(fmt.Sprint("t", i), rapid.SliceOfN(host, 0, 3).Draw(t, "hosts")...)
				if rapid.Bool().Draw(t, "section") {
					read[tr.Name] = files(rapid.Byte().Draw(t, "files")%3, rapid.SliceOfN(host.Filter(func(s string) bool { return s != "" }), 0, 2).Draw(t, "names")...)
				}
				snap.Trunks = append(snap.Trunks, tr)
			}
			c = c.next(snap, read)
			now := map[string]uint32{}
			for i := range snap.Trunks {
				tr := &snap.Trunks[i]
				for _, h := range hostsOf(tr) {
					want := "-"
					if own := read[tr.Name]; own != nil {
						want = fmt.Sprint(own.files[0])
						if len(own.who.Names) > 0 {
							h = strings.Join(own.who.Names, "\n")
						}
					}
					if want == "0" {
						want = "-" // no files
					}
					want += " " + h
					n := c.towards(tr.Name, hostsOf(tr)[0])
					if read[tr.Name] == nil || len(read[tr.Name].who.Names) == 0 {
						n = c.towards(tr.Name, h)
					}
					switch old, known := meant[n]; {
					case n == 0 || !slices.Contains(c.trunks(n), tr.Name):
						t.Fatalf("%s has class %d", tr.Name, n)
					case known && old != want:
						t.Fatalf("class %d was %q, and is %q", n, old, want)
					}
					meant[n], now[want] = want, n
					if old, known := before[want]; known && old != n {
						t.Fatalf("%q had class %d, and has %d", want, old, n)
					}
				}
			}
			before = now
		}
	})
}

// TestFingerprints: what counts of files is what they hold, not where it lies or what stands around it.
func TestFingerprints(t *testing.T) {
	dir := t.TempDir()
	one, two := authority.New("one"), authority.New("two")
	cert, key := authority.Write(t, dir, "cert", one.Issue("customer"))
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	both := write("both", string(one.PEM())+string(two.PEM()))
	of := func(c config.TrunkTLS) fingerprint {
		t.Helper()
		read, err := loadProofs(&config.Snapshot{Trunks: []config.Trunk{{Name: "a", TLS: c}}})
		if err != nil {
			t.Fatal(err)
		}
		return read["a"].files
	}
	copied := write("copied", "# of the provider\n"+string(two.PEM())+"\n# older\n"+string(one.PEM()))
	if of(config.TrunkTLS{CA: both}) != of(config.TrunkTLS{CA: copied, Names: []string{"x"}}) {
		t.Error("the same authorities in another file")
	}
	if of(config.TrunkTLS{Names: []string{"x"}}) != (fingerprint{}) {
		t.Error("there are no files")
	}
	seen := map[fingerprint]string{{}: "nothing"}
	renewed, renewedKey := authority.Write(t, dir, "renewed", one.Issue("customer"))
	for name, c := range map[string]config.TrunkTLS{
		"both authorities": {CA: both}, "one": {CA: write("one", string(one.PEM()))}, "the other": {CA: write("two", string(two.PEM()))},
		"a certificate": {Certificate: cert, Key: key}, "another one for the same name": {Certificate: renewed, Key: renewedKey},
		"certificate and authorities": {Certificate: cert, Key: key, CA: both},
	} {
		f := of(c)
		if other, twice := seen[f]; twice {
			t.Errorf("%s is as %s", name, other)
		}
		seen[f] = name
	}
}
