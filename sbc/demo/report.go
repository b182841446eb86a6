package demo

import (
	"fmt"
	"io"
	"strings"

	"sallyport/sbc/tu"
)

// Report is what the demonstration found. Its JSON is the output of `sbc demo --json`.
type Report struct {
	Addresses Addresses `json:"addresses"`
	Notices   []string  `json:"notices,omitempty"` // what was not as usual: ports that others hold
	Scenes    []Scene   `json:"scenes"`
	CDRs      []tu.CDR  `json:"cdrs"`
	OK        bool      `json:"ok"`
}

// Scene is one thing that was tried.
type Scene struct {
	Name     string   `json:"name"`
	Outside  string   `json:"outside"` // who stands outside: provider, phone, stranger
	Ladder   []Step   `json:"ladder,omitempty"`
	Audio    []Audio  `json:"audio,omitempty"`
	Findings []string `json:"findings,omitempty"`
	Problems []string `json:"problems,omitempty"` // why it is not OK
	OK       bool     `json:"ok"`
}

func (s *Scene) problem(format string, args ...any) {
	s.Problems = append(s.Problems, fmt.Sprintf(format, args...))
}

func (s *Scene) finding(format string, args ...any) {
	s.Findings = append(s.Findings, fmt.Sprintf(format, args...))
}

// shown is what a command prints.
func (s *Scene) shown(command, text string) {
	s.finding("$ %s", command)
	for line := range strings.Lines(strings.TrimSpace(text)) {
		s.finding("  %s", strings.TrimRight(line, "\n"))
	}
}

// Audio is the verdict on one stretch of audio: one side speaks, the other hears it and, where Echo says so, sends it
// back. Counts are packets of 20 ms.
type Audio struct {
	Phase     string `json:"phase"`
	Speaker   string `json:"speaker"`
	Listener  string `json:"listener"`
	Echo      bool   `json:"echo"`
	Sent      int    `json:"sent"`
	Heard     int    `json:"heard"`     // by the listener
	Back      int    `json:"back"`      // by the speaker, of its own
	Lost      int    `json:"lost"`      // both ways
	Reordered int    `json:"reordered"` // both ways
	Damaged   int    `json:"damaged"`   // both ways: the payload is not what was sent
	OK        bool   `json:"ok"`
}

// judge fills in what follows from the counts. A packet in twenty may be lost: the machine may be busy, the gate is not
// on trial for that.
func (a *Audio) judge() {
	a.Lost = max(0, a.Sent-a.Heard)
	enough := a.Sent > 0 && a.Heard*20 >= a.Sent*19
	if a.Echo {
		a.Lost += max(0, a.Heard-a.Back)
		enough = enough && a.Back*20 >= a.Sent*19
	} else {
		enough = enough && a.Back == 0
	}
	a.OK = enough && a.Damaged == 0
}

// String is the verdict in a sentence.
func (a *Audio) String() string {
	text := fmt.Sprintf("%s: %s heard %d of %d packets", a.Phase, a.Listener, a.Heard, a.Sent)
	if a.Echo {
		text += fmt.Sprintf(", %s heard %d come back", a.Speaker, a.Back)
	}
	text += fmt.Sprintf("; %d lost, %d out of order, ", a.Lost, a.Reordered)
	if a.Damaged > 0 {
		return text + fmt.Sprintf("%d damaged", a.Damaged)
	}
	return text + "payloads intact"
}

// lane is the width of each of the ladder's two lanes; the gate stands between them. A line is 89 columns wide.
const lane = 36

func (s *Scene) print(w io.Writer, number int) {
	verdict := "well"
	if !s.OK {
		verdict = "FAILED"
	}
	fmt.Fprintf(w, "\n%d  %s: %s\n", number, s.Name, verdict)
	if len(s.Ladder) > 0 {
		fmt.Fprintf(w, "\n      ms  %-*s%s%*s\n", lane-6, s.Outside, "outside GATE inside", lane-6, "PBX")
		for i := range s.Ladder {
			fmt.Fprintln(w, s.Ladder[i].draw())
		}
		if len(s.Audio)+len(s.Findings)+len(s.Problems) > 0 {
			fmt.Fprintln(w)
		}
	}
	for i := range s.Audio {
		fmt.Fprintf(w, "   audio    %s\n", &s.Audio[i])
	}
	for _, f := range s.Findings {
		fmt.Fprintf(w, "   %s\n", f)
	}
	for _, p := range s.Problems {
		fmt.Fprintf(w, "   PROBLEM  %s\n", p)
	}
}

// draw is one line of the ladder.
func (s *Step) draw() string {
	empty := strings.Repeat(" ", lane)
	left, right := empty, empty
	switch {
	case s.Side == "both":
		left, right = arrow(s.Title, "<", "=", ">"), arrow("", "<", "=", ">")
	case s.Side == "outside" && s.From == "gate":
		left = arrow(s.Title, "<", "-", "-")
	case s.Side == "outside":
		left = arrow(s.Title, "-", "-", ">")
	case s.From == "gate":
		right = arrow(s.Title, "-", "-", ">")
	default:
		right = arrow(s.Title, "<", "-", "-")
	}
	return fmt.Sprintf("%8.1f  |%s|:::|%s|", s.At, left, right)
}

// arrow is a lane's width of line with a title on it.
func arrow(title, head, line, tail string) string {
	if title != "" {
		title = " " + title[:min(len(title), lane-6)] + " "
	}
	rest := lane - 2 - len(title)
	return head + strings.Repeat(line, rest/2) + title + strings.Repeat(line, rest-rest/2) + tail
}
