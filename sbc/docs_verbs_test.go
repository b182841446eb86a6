package sbc_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"sallyport/policy"
	"sallyport/sbc"
	"sallyport/sbc/api"
	"sallyport/sbc/config"
)

// fields cuts a command line; quotes hold words together.
func fields(line string) (out []string) {
	quoted := false
	word := ""
	for _, r := range line {
		switch {
		case r == '"' || r == '\'':
			quoted = !quoted
		case r == ' ' && !quoted:
			if word != "" {
				out = append(out, word)
			}
			word = ""
		default:
			word += string(r)
		}
	}
	if word != "" {
		out = append(out, word)
	}
	return out
}

// verb runs one command of the page: a verb of the program, through what answers it, and what stands behind a pipe.
func (s *scene) verb(line string) string {
	command, filter, _ := strings.Cut(line, " | ")
	words := fields(command)
	text := ""
	switch {
	case words[0] == "sbc":
		text = s.sbc(words[1:])
	case words[0] == "tail" && strings.HasSuffix(command, "security.log"):
		lines := strings.Split(strings.TrimSpace(s.security.String()), "\n")
		n, _ := strconv.Atoi(strings.TrimPrefix(words[1], "-"))
		text = strings.Join(lines[max(0, len(lines)-n):], "\n")
	case words[0] == "cp" && len(words) == 3:
		data, err := os.ReadFile(s.path(words[1]))
		if err != nil {
			s.failed("%v", err)
		}
		s.write(words[2], string(data))
		if strings.HasSuffix(words[2], "sbc.yaml") {
			s.file = string(data)
		}
	default:
		s.failed("nobody runs %q", line)
	}
	text = strings.ReplaceAll(strings.ReplaceAll(text, s.path("geoip"), "/usr/share/tor/geoip"), s.dir+"/", "/etc/sbc/")
	if pattern, ok := strings.CutPrefix(filter, "grep "); ok {
		text = grep(fields(pattern)[0], text)
	} else if filter != "" {
		s.failed("nobody runs %q", filter)
	}
	return text
}

func grep(pattern, text string) (out string) {
	for l := range strings.Lines(text) {
		for _, p := range strings.Split(pattern, `\|`) {
			begin, anchored := strings.CutPrefix(p, "^")
			if anchored && strings.HasPrefix(l, begin) || !anchored && strings.Contains(l, p) {
				out += l
				break
			}
		}
	}
	return out
}

// sbc is a verb of the program.
func (s *scene) sbc(words []string) string {
	f := pflag.NewFlagSet("sbc", pflag.ContinueOnError)
	q := api.PolicyTest{Side: "outside"}
	f.StringVar(&q.Source, "source", "", "")
	f.StringVar(&q.Realm, "realm", "phones", "")
	f.StringVar(&q.Transport, "transport", "udp", "")
	file, next, against := f.String("message", "", ""), f.String("config", "", ""), f.String("against", "", "")
	length, confirm := f.Duration("for", 0, ""), f.Duration("confirm", 0, "")
	comment := f.String("comment", "", "")
	limits := f.Bool("limits", false, "")
	r := api.ReloadRequest{}
	f.BoolVar(&r.Diff, "diff", false, "")
	f.BoolVar(&r.Force, "force", false, "")
	keep := f.Bool("keep", false, "")
	if err := f.Parse(words); err != nil {
		s.failed("%v", err)
	}
	c, args := s.control(), f.Args()
	switch verb := strings.Join(args[:min(2, len(args))], " "); {
	case verb == "policy order":
		return policy.OrderText()
	case verb == "policy test":
		return s.policyTest(c, q, *file, *next)
	case args[0] == "why":
		v, err := c.Why(s.ctx, args[1])
		return said(v.Text, err)
	case verb == "bans add":
		ban := api.Ban{Address: args[2], Comment: *comment, Force: r.Force, By: "uid 0"}
		if *length > 0 {
			ban.Until = time.Now().Add(*length)
		}
		made, err := c.AddBan(s.ctx, ban)
		return said("banned "+made.Target(), err)
	case verb == "bans remove":
		return said("no longer banned: "+args[2], c.RemoveBan(s.ctx, args[2]))
	case verb == "bans":
		list, err := c.Bans(s.ctx)
		return said(api.BansText(list, time.Local), err)
	case verb == "status":
		v, err := c.Status(s.ctx)
		if *limits {
			return said(v.LimitsText(), err)
		}
		return said(v.Text(time.Local), err)
	case verb == "reload" && *keep:
		return said("kept", c.KeepReload(s.ctx))
	case verb == "reload":
		if *confirm > 0 {
			r.Confirm = confirm.String()
		}
		v, err := c.Reload(s.ctx, r)
		text, _ := v.Text(time.Local)
		if !v.Returns.IsZero() {
			text += "keep it? (yes)"
		}
		return said(text, err)
	case args[0] == "check":
		_, report := config.Parse(args[1], s.read(args[1]), config.Flags{})
		text := report.Full()
		if report.OK() {
			text += "\nthe configuration is valid"
		}
		return strings.TrimPrefix(text, "\n")
	}
	return s.captured(args, *next, *against)
}

// said is a verb's output, or its error.
func said(text string, err error) string {
	if err != nil {
		return err.Error()
	}
	return text
}

func (s *scene) policyTest(c api.Control, q api.PolicyTest, file, next string) string {
	q.Message = s.read(file)
	if next != "" {
		v, err := sbc.TryMessage(s.snapshot(next), q)
		return said(v.Text, err)
	}
	v, err := c.TestMessage(s.ctx, q)
	return said(v.Text, err)
}

func (s *scene) read(name string) []byte {
	data, err := os.ReadFile(s.path(name))
	if err != nil {
		s.failed("%v", err)
	}
	return data
}

func (s *scene) snapshot(name string) *config.Snapshot {
	snap, report := config.Parse(name, s.read(name), config.Flags{})
	if snap == nil {
		s.failed("%s", report.String())
	}
	return snap
}

// captures are recordings of real traffic.
const captures = "../testdata/pcap/"

// captured are the verbs about captures.
func (s *scene) captured(args []string, next, against string) string {
	if next == "" {
		next = "sbc.yaml"
	}
	switch verb := strings.Join(args[:min(2, len(args))], " "); {
	case args[0] == "record":
		var b bytes.Buffer
		if err := s.control().Record(s.ctx, &b); err != nil {
			s.failed("%v", err)
		}
		s.write(args[1], b.String())
		return args[1] + ": " + strconv.Itoa(b.Len()) + " bytes"
	case args[0] == "replay" && against != "":
		x, err := sbc.ReplayAgainst(context.Background(), s.opener(args[1]), s.snapshot(against), s.snapshot(next))
		return s.told(func() string { return x.Text(time.Local) }, err)
	case args[0] == "replay":
		x, err := sbc.Replay(context.Background(), s.opener(args[1]), s.snapshot(next))
		return s.told(func() string { return x.Text(time.Local) }, err)
	case verb == "limits suggest":
		x, err := sbc.SuggestLimits(context.Background(), s.opener(args[2]), s.snapshot(next), 99, 50)
		return s.told(func() string { return x.Text(time.Local) }, err)
	}
	s.failed("nobody runs sbc %s", strings.Join(args, " "))
	return ""
}

func (s *scene) told(text func() string, err error) string {
	if err != nil {
		return err.Error()
	}
	return text()
}

// opener opens a capture: one that the scene has recorded, or one of real traffic.
func (s *scene) opener(name string) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) {
		f, err := os.Open(s.path(name))
		if errors.Is(err, os.ErrNotExist) {
			f, err = os.Open(captures + name)
		}
		return f, err
	}
}
