//go:build interop

package interop

import (
	"bytes"
	"embed"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
	"time"
)

//go:embed scenarios/*.xml
var scenarios embed.FS

// parts holds the messages of scenarios/parts.xml; every scenario is a template over them.
var parts = template.Must(template.New("").
	Funcs(template.FuncMap{"list": func(items ...any) []any { return items }, "filler": filler}).
	ParseFS(scenarios, "scenarios/*.xml"))

// scenario writes a scenario out for sipp and returns its path.
func (w *world) scenario(t *testing.T, name string) string {
	t.Helper()
	var text bytes.Buffer
	if err := parts.ExecuteTemplate(&text, name+".xml", nil); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(w.dir, name+".xml")
	if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	w.tone(t)
	return path
}

// filler makes a message long, by as many bytes, in lines.
func filler(size int) string {
	return strings.Repeat("\n<note>"+strings.Repeat("0123456789", 8)+"</note>", size/94)
}

// tone writes a second of audio in G.711 µ-law. Its bytes are a ramp: whoever reads a capture sees what got lost.
func (w *world) tone(t *testing.T) {
	t.Helper()
	audio := make([]byte, 8000)
	for i := range audio {
		audio[i] = byte(i)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "tone.ulaw"), audio, 0o600); err != nil {
		t.Fatal(err)
	}
}

// agent is one sipp: which scenario it plays where.
type agent struct {
	ns, address string // it speaks SIP from address:5060, RTP from address
	scenario    string
	number      string   // the number it dials or answers for
	towards     string   // where a caller sends; empty for a callee
	load        []string // what makes a load of it: rate, number of calls
}

// sipp starts an agent; a callee listens when it returns.
func (w *world) sipp(t *testing.T, a agent) *process {
	t.Helper()
	name, host := a.scenario+"-"+a.address, a.address
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	args := []string{
		"sipp", "-sf", w.scenario(t, a.scenario), "-i", host, "-p", "5060", "-mi", host, "-s", a.number,
		"-key", "tp", "UDP", "-timeout_error", "-nostdin", "-max_retrans", "6", "-trace_err", "-error_file", filepath.Join(w.dir, name+".errors"),
	}
	if a.load == nil {
		args = append(args, "-m", "1", "-timeout", "30s", "-trace_msg", "-message_file", filepath.Join(w.dir, name+".messages"))
	}
	args = append(args, a.load...)
	if a.towards != "" {
		args = append(args, a.towards)
	}
	p := w.start(t, a.ns, name, args...)
	if a.towards == "" {
		until(t, name+" listens", 10*time.Second, func() bool { return p.ended() || bound(p.pid(), host+":5060") })
		if p.ended() {
			t.Fatalf("%s: sipp does not start\n%s", name, p.tail())
		}
	}
	return p
}

// verdict waits for an agent and reports its failure with what it complained of.
func (w *world) verdict(t *testing.T, p *process) {
	t.Helper()
	code, err := p.wait(40 * time.Second)
	if err != nil {
		t.Error(err)
	} else if code != 0 {
		t.Errorf("%s: sipp exits %d (1: a call failed, 97: killed, 255: fatal)\n%s%s", p.name, code,
			tail(filepath.Join(w.dir, p.name+".errors")), complaint(p))
	}
}

// complaint is the output of a sipp that did not even begin.
func complaint(p *process) string {
	if p.code == 1 {
		return ""
	}
	return p.tail()
}
