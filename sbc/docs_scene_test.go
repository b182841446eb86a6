package sbc_test

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.yaml.in/yaml/v4"

	"sallyport/nat/natlab"
	"sallyport/sbc"
	"sallyport/sbc/api"
	"sallyport/sbc/config"
	"sallyport/sbc/message"
)

// docsConfig is what the page's configurations are written into: the gate of its first paragraph.
const docsConfig = `
outside: { address: 203.0.113.10, phones: { udp: 5060, tcp: 5060 }, trunks: { udp: 5080 } }
inside: { address: 10.0.0.2, phones: { udp: 5060 }, trunks: { udp: 5080 } }
media: { ports: 30000-31000 }
pbx:
  domain: example.com
  nodes: [ { address: "10.0.0.10:5060" } ]
  health: { interval: 0 }
phones: { registration: { outside: 0s } }
trunks:
  - name: itsp
    peers: [ { address: "203.0.113.20:5060" } ]
    outbound: { match: ["^\\+?[0-9]{2,15}$"] }
    keepalive: { method: none }
`

// docsCountries is the country database of the page.
const docsCountries = "198.51.100.0/24,DE\n192.0.2.0/25,NL\n192.0.2.128/25,FR\n2001:db8:7::/48,DE\n"

// scene is a gate with what the page says of it.
type scene struct {
	*lab
	at       *piece
	pbx      *wire
	wires    map[netip.AddrPort]*wire
	streams  map[netip.AddrPort]net.Conn
	security diary
	dir      string // where /etc/sbc and the files of the page are
	file     string // the configuration as it was edited last
	hearing  sync.Mutex
	heard    *message.Message // what the gate answered last to a datagram
	calls    int              // ids given out
	nonces   int
	users    int
}

// merged is a fragment of a configuration within the gate's, with the files of the page in their place.
func (s *scene) merged(text []string) string {
	var whole, part map[string]any
	for from, into := range map[string]*map[string]any{docsConfig: &whole, strings.Join(text, "\n"): &part} {
		if err := yaml.Unmarshal([]byte(from), into); err != nil {
			s.failed("%v", err)
		}
	}
	merge(whole, part)
	out, err := yaml.Marshal(whole)
	if err != nil {
		s.failed("%v", err)
	}
	text2 := strings.ReplaceAll(string(out), "/usr/share/tor/geoip", s.path("geoip"))
	return strings.ReplaceAll(text2, "/etc/sbc/", s.dir+"/")
}

func merge(into, from map[string]any) {
	for key, v := range from {
		sub, isMap := v.(map[string]any)
		old, wasMap := into[key].(map[string]any)
		if isMap && wasMap {
			merge(old, sub)
			continue
		}
		into[key] = v
	}
}

func (s *scene) path(name string) string { return filepath.Join(s.dir, filepath.Base(name)) }

// newScene starts a gate as the first piece says, if it is a configuration.
func newScene(t *testing.T, list []*piece) *scene {
	s := &scene{lab: &lab{t: t}, at: list[0], dir: t.TempDir(), wires: map[netip.AddrPort]*wire{}, streams: map[netip.AddrPort]net.Conn{}}
	s.write("geoip", docsCountries)
	first := []string{}
	for i, p := range list {
		s.at = p
		kind, name := p.words()
		switch {
		case i == 0 && kind == "yaml" && name == "":
			first = p.text
		case kind == "yaml":
			s.write(name, s.merged(p.text))
			s.snapshot(name)
		case name != "":
			s.write(name, strings.Join(p.text, "\n")+"\n")
		}
	}
	s.at = list[0]
	s.file = s.merged(first)
	if _, err := os.Stat(s.path("sbc.yaml")); err != nil {
		s.write("sbc.yaml", s.file)
	}
	lines := zapcore.EncoderConfig{TimeKey: "ts", LevelKey: "level", MessageKey: "msg", EncodeTime: zapcore.ISO8601TimeEncoder, EncodeLevel: zapcore.LowercaseLevelEncoder}
	log := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(lines), zapcore.AddSync(&s.security), zapcore.InfoLevel))
	s.lab = newGate(t, s.file, natlab.Options{Seed: 11}, func(o *sbc.Options) {
		o.Security, o.Names = log, [16]byte{4, 5, 6}
		o.Resolve = func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("198.51.100.7")}, nil
		}
	})
	s.lab.net.Observe(s.hear)
	s.pbx = s.wire(pbxAt)
	s.pbx.n = 100_000
	return s
}

// hear notes what the gate answers.
func (s *scene) hear(d natlab.Datagram) {
	if d.Src.Addr() == gateOutside && bytes.HasPrefix(d.Payload, []byte("SIP/2.0 ")) && !bytes.HasPrefix(d.Payload, []byte("SIP/2.0 1")) {
		m := read(s.t, d.Payload)
		s.hearing.Lock()
		s.heard = m
		s.hearing.Unlock()
	}
}

func (s *scene) write(name, text string) {
	err := os.WriteFile(s.path(name), []byte(text), 0o600)
	if err == nil {
		err = os.Chtimes(s.path(name), docsBegin, docsBegin)
	}
	if err != nil {
		s.failed("%v", err)
	}
}

func (s *scene) close() {
	for _, c := range s.streams {
		_ = c.Close()
	}
	s.lab.close()
}

// control answers the administrator; a reload reads the file as it was edited last.
func (s *scene) control() api.Control {
	return s.gate.Control(func() (*config.Snapshot, config.Report) {
		return config.Parse("/etc/sbc/sbc.yaml", []byte(s.file), config.Flags{})
	})
}

// diary takes lines of a log.
type diary struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (d *diary) Write(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.text.Write(b)
}

func (d *diary) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.text.String()
}
