package transaction

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// machine is one of the four machines: how to get into each of its states, and every input that it may meet.
type machine struct {
	name   string
	states []start
	inputs []string
}

// start is a state and the commands that lead to it.
type start struct {
	name string
	run  []string
}

// machines list every state and input; TestEveryPair plays their product. The transaction under test has branch 1 and,
// at a server, ID 1.
var machines = []machine{
	{
		name: "server INVITE",
		states: []start{
			{"proceeding, silent", nil},
			{"proceeding, 100", []string{"respond 1 100"}},
			{"proceeding, 180", []string{"respond 1 180"}},
			{"proceeding, cancelled", []string{"respond 1 180", "recv CANCEL b=1"}},
			{"accepted", []string{"respond 1 200"}},
			{"accepted, acknowledged", []string{"respond 1 200", "recv ACK b=9 to=tt"}},
			{"completed", []string{"respond 1 486"}},
			{"confirmed", []string{"respond 1 486", "recv ACK b=1 to=tt"}},
			{"dropped", []string{"drop 1"}},
			{"ended", []string{"respond 1 486", "run 1h"}},
		},
		inputs: []string{
			"recv INVITE b=1", "recv INVITE b=1 src=D", "recv INVITE b=2", "recv ACK b=1 to=tt", "recv ACK b=2 to=tt",
			"recv ACK b=1 to=tt src=D", "recv ACK b=2 to=tt src=D", "recv CANCEL b=1", "recv CANCEL b=1 src=D",
			"respond 1 100", "respond 1 180", "respond 1 200", "respond 1 302", "respond 1 603",
			"drop 1", "own 1 9", "unreachable A", "run 500ms", "run 32s",
		},
	},
	{
		name: "server OPTIONS",
		states: []start{
			{"trying", nil},
			{"trying, owned", []string{"own 1 9"}},
			{"proceeding", []string{"own 1 9", "run 4s"}},
			{"completed", []string{"respond 1 200"}},
			{"dropped", []string{"drop 1"}},
			{"ended", []string{"respond 1 200", "run 1h"}},
		},
		inputs: []string{
			"recv OPTIONS b=1", "recv OPTIONS b=1 src=D", "recv OPTIONS b=2", "recv ACK b=1 to=tt", "recv CANCEL b=1",
			"respond 1 100", "respond 1 183", "respond 1 200", "respond 1 408", "respond 1 500",
			"drop 1", "disown 9", "unreachable A", "run 500ms", "run 3500ms", "run 32s",
		},
	},
	{
		name: "client INVITE",
		states: []start{
			{"calling", nil},
			{"calling, cancelled", []string{"cancel 5 1"}},
			{"calling, failed", []string{"unreachable B"}},
			{"calling, disowned", []string{"disown 5"}},
			{"proceeding", []string{"resp 180 INVITE b=1"}},
			{"proceeding, cancelled", []string{"resp 180 INVITE b=1", "cancel 5 1", "resp 200 CANCEL b=1"}},
			{"proceeding, disowned", []string{"resp 180 INVITE b=1", "disown 5", "resp 200 CANCEL b=1"}},
			{"accepted", []string{"resp 200 INVITE b=1 to=x"}},
			{"accepted, disowned", []string{"resp 200 INVITE b=1 to=x", "disown 5"}},
			{"completed", []string{"resp 486 INVITE b=1 to=x"}},
			{"ended", []string{"resp 486 INVITE b=1 to=x", "run 1h"}},
		},
		inputs: []string{
			"resp 100 INVITE b=1", "resp 183 INVITE b=1 to=x", "resp 200 INVITE b=1 to=x", "resp 200 INVITE b=1 to=y",
			"resp 302 INVITE b=1 to=x", "resp 503 INVITE b=1 to=y", "resp 200 INVITE b=1 to=x src=D",
			"resp 200 CANCEL b=1", "cancel 5 1", "disown 5", "unreachable B", "run 500ms", "run 32s",
		},
	},
	{
		name: "client OPTIONS",
		states: []start{
			{"trying", nil},
			{"trying, disowned", []string{"disown 5"}},
			{"proceeding", []string{"resp 100 OPTIONS b=1"}},
			{"completed", []string{"resp 200 OPTIONS b=1 to=x"}},
			{"ended", []string{"resp 200 OPTIONS b=1 to=x", "run 1h"}},
		},
		inputs: []string{
			"resp 100 OPTIONS b=1", "resp 183 OPTIONS b=1 to=x", "resp 200 OPTIONS b=1 to=x", "resp 503 OPTIONS b=1 to=x",
			"resp 200 OPTIONS b=1 to=x src=D", "resp 200 INVITE b=1 to=x", "cancel 5 1", "disown 5", "unreachable B",
			"run 500ms", "run 32s",
		},
	},
}

const matrixFile = "testdata/matrix.txt"

// TestEveryPair plays every input in every state of every machine and compares the effects and the next state with
// testdata/matrix.txt, one line a pair.
func TestEveryPair(t *testing.T) {
	var got strings.Builder
	for _, m := range machines {
		for _, from := range m.states {
			fmt.Fprintf(&got, "%s, %s\n", m.name, from.name)
			for _, input := range m.inputs {
				fmt.Fprintf(&got, "  %-34s %s\n", input, pair(t, m, from, input))
			}
		}
	}
	if *update {
		if err := os.WriteFile(matrixFile, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(matrixFile)
	if err != nil {
		t.Fatal(err)
	}
	wantLines := strings.Split(string(want), "\n")
	for i, line := range strings.Split(got.String(), "\n") {
		if i >= len(wantLines) || line != wantLines[i] {
			t.Fatalf("line %d differs; -update rewrites the file\n got %s\nwant %s", i+1, line, wantLines[min(i, len(wantLines)-1)])
		}
	}
}

// pair plays one input in one state: what it caused, the next state, and then that everything still comes to an end.
func pair(t *testing.T, m machine, from start, input string) string {
	s := newScript(t, Config{})
	side, method, _ := strings.Cut(m.name, " ")
	if side == "server" {
		s.run("recv " + method + " b=1")
	} else {
		s.run("send " + method + " 5 1 b=1")
	}
	for _, c := range from.run {
		s.run(c)
	}
	var said []string
	for _, l := range s.run(input) {
		_, l, _ = strings.Cut(l, " ") // without its time
		if n := len(said); n > 0 && strings.TrimSuffix(said[n-1], " …") == l {
			said[n-1] = l + " …" // a timer that runs several times
			continue
		}
		said = append(said, l)
	}
	if len(said) == 0 {
		said = []string{"nothing"}
	}
	verify(t, s.table)
	line := strings.Join(said, "; ") + " → " + s.state(side)
	for id, srv := range s.table.servers {
		if !srv.answered() {
			s.run(fmt.Sprintf("respond %d 480", id))
		}
	}
	s.run("disown 5")
	s.run("run 1h")
	verifyEmpty(t, s.table)
	return line
}

var stateNames = [...]string{"calling", "trying", "proceeding", "completed", "confirmed", "accepted", "dropped"}

// state is that of the transaction under test.
func (s *script) state(side string) string {
	if side == "server" {
		if srv := s.table.servers[1]; srv != nil {
			return stateNames[srv.state]
		}
		return "ended"
	}
	for _, method := range []string{"INVITE", "OPTIONS"} {
		if c := s.table.clients[string(clientKey(nil, "z9hG4bK1", method))]; c != nil {
			return stateNames[c.state]
		}
	}
	return "ended"
}
