package tu

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/nat"
)

func TestSecretsAreBoundedAndUnique(t *testing.T) {
	var s Secrets
	for range 3 {
		for i := range 3 * SecretsMost {
			s.AddHost(fmt.Sprint("host", i))
			s.AddID(fmt.Sprint("id", i))
			s.AddAddr(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}))
		}
	}
	if len(s.Hosts) != SecretsMost || len(s.IDs) != SecretsMost || len(s.Addrs) != SecretsMost {
		t.Fatalf("%d hosts, %d ids, %d addresses", len(s.Hosts), len(s.IDs), len(s.Addrs))
	}
	if s.Hosts[0] != "host0" || s.IDs[SecretsMost-1] != fmt.Sprint("id", SecretsMost-1) || s.Addrs[5].String() != "10.0.0.5" {
		t.Error("the first ones stay")
	}
}

func TestSecretsLeaveNothingOut(t *testing.T) {
	var s Secrets
	s.AddHost("")
	s.AddID("")
	s.AddAddr(netip.Addr{})
	if len(s.Hosts)+len(s.IDs)+len(s.Addrs) != 0 {
		t.Error("nothing is no secret")
	}
	for range 2 {
		s.AddHost("a")
		s.AddID("a")
		s.AddAddr(netip.MustParseAddr("::1"))
	}
	if len(s.Hosts) != 1 || len(s.IDs) != 1 || len(s.Addrs) != 1 {
		t.Errorf("%+v", s)
	}
}

func TestPayloads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := map[uint8]bool{}
		var p Payloads
		for _, pt := range rapid.SliceOf(rapid.Byte()).Draw(t, "types") {
			p.Add(pt)
			want[pt] = pt < 128
		}
		for pt := range 256 {
			if p.Has(uint8(pt)) != want[uint8(pt)] {
				t.Fatalf("%d in %x: %v", pt, p, !want[uint8(pt)])
			}
		}
	})
}

func TestStreamAt(t *testing.T) {
	out, in := netip.MustParseAddrPort("203.0.113.10:30000"), netip.MustParseAddrPort("10.0.0.2:30002")
	s := Stream{Local: [2]netip.AddrPort{out, in}}
	if s.At(nat.Outside) != out || s.At(nat.Inside) != in {
		t.Errorf("%v", s)
	}
}

func TestKindNames(t *testing.T) {
	for k, want := range map[Kind]string{KindTrunk: "trunk", KindNode: "node", KindPhone: "phone"} {
		if k.String() != want {
			t.Errorf("%d is %q", k, k)
		}
	}
}

// TestClosedLists reads the sources: every type of event.go is an Event, every one of action.go an Action, so that a
// new one cannot be forgotten in its list.
func TestClosedLists(t *testing.T) {
	for file, marker := range map[string]string{"event.go": "isEvent", "action.go": "isAction"} {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		open := map[string]bool{}
		for _, d := range parsed.Decls {
			switch d := d.(type) {
			case *ast.GenDecl:
				for _, s := range d.Specs {
					if ts, ok := s.(*ast.TypeSpec); ok {
						if _, face := ts.Type.(*ast.InterfaceType); !face {
							open[ts.Name.Name] = true
						}
					}
				}
			case *ast.FuncDecl:
				if d.Name.Name == marker && d.Recv != nil {
					delete(open, d.Recv.List[0].Type.(*ast.Ident).Name)
				}
			}
		}
		if len(open) > 0 {
			t.Errorf("%s: %v have no %s", file, open, marker)
		}
	}
}

// TestCDRLeavesEmptyFieldsOut: a line of a refused call has no answer time and no media.
func TestCDRLeavesEmptyFieldsOut(t *testing.T) {
	b, err := json.Marshal(CDR{Call: "c1", Start: time.Unix(0, 0).UTC(), Code: 486})
	if err != nil {
		t.Fatal(err)
	}
	for _, absent := range []string{"answer", "ringing", "media", "correlation", "reason"} {
		if strings.Contains(string(b), `"`+absent+`"`) {
			t.Errorf("%s in %s", absent, b)
		}
	}
	for _, present := range []string{`"call":"c1"`, `"code":486`, `"start":"1970-01-01T00:00:00Z"`, `"duration":0`} {
		if !strings.Contains(string(b), present) {
			t.Errorf("%s is missing in %s", present, b)
		}
	}
}

func TestKeysAreNotPrinted(t *testing.T) {
	a := Point{Aim: Aim{Crypto: Crypto{Suite: AES128CM80, Receive: [46]byte{0: 77, 1: 88, 2: 99}, Send: [46]byte{0: 55, 1: 66, 2: 44}}}}
	for _, text := range []string{fmt.Sprint(a), fmt.Sprintf("%+v", a), fmt.Sprintf("%#v", a)} {
		if strings.Contains(text, "77 88") || strings.Contains(text, "0x4d, 0x58") || !strings.Contains(text, "suite 1") {
			t.Error(text)
		}
	}
}
