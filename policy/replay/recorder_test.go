package replay

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/trace"
)

// recorded is what the flight recorder makes of a tape.
func recorded(t *testing.T, c *tape, s *Setup) []byte {
	t.Helper()
	file, err := c.open()()
	if err != nil {
		t.Fatal(err)
	}
	capture, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	d, r := newDoors(s.Interfaces), trace.New(16<<20)
	var m Message
	for capture.Next(&m) == nil {
		i, w := d.find(&m)
		n := trace.Note{At: m.Time, Interface: i, Remote: m.Source, Known: true, Data: m.Data}
		if w == sent {
			n.Sent, n.Remote = true, m.Destination
		}
		if w != elsewhere {
			r.Note(&n)
		}
	}
	var dump bytes.Buffer
	if err := r.Dump(&dump); err != nil {
		t.Fatal(err)
	}
	return dump.Bytes()
}

// TestRecorderReplays: what the flight recorder wrote is judged as a capture of the wire is.
func TestRecorderReplays(t *testing.T) {
	s := setup(func(c *policy.Config) { c.DenyUserAgents = nil })
	c := morning(t)
	invite := sip{method: "INVITE", user: "201", callID: "by tcp", body: strings.Repeat("a=x\r\n", 800)}.String()
	c.tcp(office+":50000", gatePhones, 99, "S", "").tcp(office+":50000", gatePhones, 100, "", invite[:2000]).tcp(office+":50000", gatePhones, 2100, "", invite[2000:])
	wire := run1(t, c, s)
	dump := recorded(t, c, s)
	got, err := Run(opener(dump), s)
	if err != nil {
		t.Fatal(err)
	}
	ignore := []cmp.Option{cmpopts.IgnoreUnexported(Report{}, Refusal{}, Facts{}), cmpopts.IgnoreFields(Report{}, "Capture", "Other"), cmpopts.EquateComparable(netip.Addr{})}
	if d := cmp.Diff(wire, got, ignore...); d != "" {
		t.Error(d)
	}
	if bytes.Contains(dump, []byte(`response="0123"`)) || !bytes.Contains(dump, []byte(`response="xxxx"`)) {
		t.Error("the dump holds a secret")
	}
	// The listeners are named in the file: another machine's configuration serves as well.
	elsewhere := setup(func(c *policy.Config) { c.DenyUserAgents = nil })
	elsewhere.Interfaces = nil
	if p, err := Run(opener(dump), elsewhere); err != nil || p.Refused != wire.Refused || p.Messages != wire.Messages {
		t.Errorf("%+v %v", p, err)
	}
}

// TestRecorderKeepsTLS: a recorded message of a TLS connection is one, whatever the made-up header says.
func TestRecorderKeepsTLS(t *testing.T) {
	s := setup(nil)
	secure := nat.Interface{Side: nat.Outside, Realm: nat.Phones, Transport: nat.TLS, Bind: ap("203.0.113.10:5061"), Advertised: ap("203.0.113.10:5061")}
	s.Interfaces = append(s.Interfaces, secure)
	r := trace.New(1 << 20)
	for i := range 300 {
		r.Note(&trace.Note{At: noon, Interface: &secure, Remote: ap(office + ":50000"), Data: []byte(sip{method: "REGISTER", callID: string(rune('a' + i%26)), cseq: 1 + i}.String())})
	}
	var dump bytes.Buffer
	if err := r.Dump(&dump); err != nil {
		t.Fatal(err)
	}
	p, err := Run(opener(dump.Bytes()), s)
	if err != nil || p.Messages != 200 || p.Capture.Dropped != 100 {
		t.Fatalf("%+v %v", p, err)
	}
	if p.Sources[0].Refused != 0 && p.Sources[0].Refusals[0].First.Source != "tls "+office+":50000" {
		t.Errorf("%+v", p.Sources[0])
	}
	if !strings.Contains(p.Text(time.UTC), "100 packets were missed by the capturing program") {
		t.Error(p.Text(time.UTC))
	}
}

func TestOpenersThatFail(t *testing.T) {
	broken := errors.New("no such file")
	open := Opener(func() (io.ReadCloser, error) { return nil, broken })
	if _, err := Run(open, setup(nil)); !errors.Is(err, broken) {
		t.Error(err)
	}
	if _, err := Compare(open, setup(nil), setup(nil)); !errors.Is(err, broken) {
		t.Error(err)
	}
	if _, err := Suggest(open, setup(nil), SuggestOptions{}); !errors.Is(err, broken) {
		t.Error(err)
	}
	if _, err := Run(opener([]byte("this is no capture, but a text")), setup(nil)); err == nil || !strings.Contains(err.Error(), "neither a pcap nor a pcapng") {
		t.Error(err)
	}
}
