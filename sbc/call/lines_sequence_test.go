package call

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sallyport/media/sdp"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// lists are two peers of a call, each with an m= line list of its own: what they offer is theirs, and what they answer is what comes to
// their minds.
type lists struct {
	*player
	t    *rapid.T
	view [2][]string // what the peer has said last: kinds
	port int
}

var lineKinds = []string{"audio", "video", "image"}

// kinds draws the streams of a first offer.
func (l *lists) kinds(what string) []string {
	return rapid.SliceOfN(rapid.SampledFrom(lineKinds), 1, 4).Draw(l.t, what)
}

// answer draws the streams of an answer: those that were offered, or fewer, or more, or in another order.
func (l *lists) answer(offer []string) []string {
	list := slices.Clone(offer)
	for range rapid.IntRange(0, 2).Draw(l.t, "changes") {
		switch n := len(list); rapid.SampledFrom([]string{"drop", "drop", "add", "order"}).Draw(l.t, "change") {
		case "drop":
			if n > 1 {
				i := rapid.IntRange(0, n-1).Draw(l.t, "at")
				list = slices.Delete(list, i, i+1)
			}
		case "add":
			list = slices.Insert(list, rapid.IntRange(0, n).Draw(l.t, "at"), rapid.SampledFrom(lineKinds).Draw(l.t, "kind"))
		case "order":
			list = rapid.Permutation(list).Draw(l.t, "order")
		}
	}
	return list
}

// spec writes a description of streams, some of them declined.
func (l *lists) spec(kinds []string) string {
	list := make([]string, len(kinds))
	for i, kind := range kinds {
		l.port += 2
		at := l.port
		if rapid.IntRange(0, 5).Draw(l.t, "declined") == 0 {
			at = 0
		}
		list[i] = fmt.Sprintf("%s:%d", kind, at)
		if kind == "video" {
			list[i] += "::97=VP8/90000"
		}
	}
	return strings.Join(list, ",")
}

// do plays an event, with the ports that it asks for.
func (l *lists) do(format string, args ...any) (out []tu.Action) {
	l.t.Logf(format, args...)
	if f := strings.Fields(fmt.Sprintf(format, args...)); f[1] == "200" && !slices.ContainsFunc(l.refs, func(r tu.Ref) bool { return l.clients[r].leg == int(f[0][0]-'a') }) {
		l.t.Fatalf("nothing is asked of %s", f[0])
	}
	for do := l.event(fmt.Sprintf(format, args...)); ; {
		out = append(out, do...)
		at := slices.IndexFunc(do, func(a tu.Action) bool { _, is := a.(tu.Reserve); return is })
		if at < 0 {
			return out
		}
		do = l.event(fmt.Sprintf("reserved %d", do[at].(tu.Reserve).Streams))
	}
}

// ack acknowledges the last 2xx that a leg has got.
func (l *lists) ack(leg int, words string) []tu.Action {
	l.t.Helper()
	if !slices.ContainsFunc(l.order, func(tx tu.TxID) bool {
		x := l.servers[tx]
		return x.leg == leg && x.msg.Method == "INVITE" && x.final/100 == 2 && !x.acked
	}) {
		l.t.Fatalf("the %s's INVITE has no 2xx", legNames[leg])
	}
	return l.do("%c ACK%s", 'a'+leg, words)
}

// answered checks that nothing was lost on the way: of each kind as many streams are live as both peers want.
func (l *lists) answered(do []tu.Action, offer, answer string) {
	l.t.Helper()
	for _, m := range messagesOf(do) {
		if !described(m) {
			continue
		}
		for _, kind := range lineKinds {
			got := liveOf(sdpOf(m), kind)
			want := min(liveOf(describe(itsp1, offer), kind), liveOf(describe(itsp1, answer), kind))
			if got != want {
				l.t.Errorf("%s answered by %s: %d streams of %s arrive, want %d", offer, answer, got, kind, want)
			}
		}
		return
	}
}

func messagesOf(do []tu.Action) (list []*message.Message) {
	for _, a := range do {
		switch a := a.(type) {
		case tu.Respond:
			list = append(list, a.Msg)
		case tu.Send:
			list = append(list, a.Msg)
		case tu.SendAck:
			list = append(list, a.Msg)
		}
	}
	return list
}

func liveOf(body []byte, kind string) (n int) {
	s, err := sdp.Parse(body)
	if err != nil {
		return -1
	}
	for i := range s.Len() {
		if at := s.At(i); at.Type == kind && !at.Rejected() {
			n++
		}
	}
	return n
}

// begin plays a call until its ACK, by one of the ways that offer and answer can take.
func (l *lists) begin() {
	offer := l.kinds("offer")
	said := l.spec(offer)
	back := l.answer(offer)
	answer := l.spec(back)
	l.view = [2][]string{offer, back}
	way := rapid.SampledFrom([]string{"plain", "early", "forks", "reliable", "late", "late reliable"}).Draw(l.t, "way")
	if strings.HasPrefix(way, "late") {
		l.view = [2][]string{back, offer}
		l.do("a INVITE Supported=100rel")
	} else {
		l.do("a INVITE Supported=100rel sdp=%s", said)
	}
	l.do("routed node1")
	switch way {
	case "early":
		l.do("b 183 sdp=%s", answer)
	case "forks":
		other := l.spec(l.answer(offer))
		l.do("b 183 sdp=%s", answer)
		l.do("b 183 tag=y sdp=%s", other)
	case "reliable":
		l.do("b 183 rseq=1 sdp=%s", answer)
		if l.c.phase != ending {
			l.do("a PRACK")
			l.do("b 200")
		}
	case "late reliable":
		l.do("b 183 rseq=1 sdp=%s", said)
		l.answered(l.do("a PRACK sdp=%s", answer), said, answer)
		if l.c.phase != ending {
			l.do("b 200")
		}
	}
	switch {
	case l.c.phase == ending:
	case way == "late":
		l.do("b 200 sdp=%s", said)
		l.answered(l.ack(caller, " sdp="+answer), said, answer)
	case way == "late reliable":
		l.do("b 200")
		l.ack(caller, "")
	default:
		if do := l.do("b 200 sdp=%s", answer); l.c.phase != ending {
			l.answered(do, said, answer)
			l.ack(caller, "")
		}
	}
}

// offer has one of both offer something within the call: what it has said last, and perhaps more.
func (l *lists) offer() {
	from := rapid.IntRange(0, 1).Draw(l.t, "from")
	list := slices.Clone(l.view[from])
	if rapid.Bool().Draw(l.t, "more") {
		list = append(list, rapid.SampledFrom(lineKinds).Draw(l.t, "kind"))
	}
	method := rapid.SampledFrom([]string{"INVITE", "INVITE", "UPDATE", "late"}).Draw(l.t, "method")
	before := len(l.refs)
	said := l.spec(list)
	if method == "late" {
		l.late(from, said, list)
		return
	}
	do := l.do("%c %s sdp=%s", 'a'+from, method, said)
	if len(l.refs) == before { // answered here: a refresh
		if method == "INVITE" {
			l.ack(from, "")
		}
		l.view[from] = list
		return
	}
	var told []string
	for _, a := range do {
		if x, is := a.(tu.Send); is {
			for _, line := range linesOf(sdpOf(x.Msg)) {
				told = append(told, line.kind)
			}
		}
	}
	if have := len(l.view[from]); len(told) < have {
		l.t.Errorf("%d lines are told of an offer of %d", len(told), have)
	}
	back := l.answer(told)
	answer := l.spec(back)
	do = l.do("%c 200 sdp=%s", 'a'+1-from, answer)
	if l.c.phase == ending {
		return
	}
	l.answered(do, said, answer)
	if method == "INVITE" {
		l.ack(from, "")
	}
	l.view[from], l.view[1-from] = list, back
}

// late has one of both ask for an offer, which the other one makes.
func (l *lists) late(from int, _ string, _ []string) {
	list := slices.Clone(l.view[1-from])
	said := l.spec(list)
	l.do("%c INVITE", 'a'+from)
	do := l.do("%c 200 sdp=%s", 'a'+1-from, said)
	if l.c.phase == ending {
		return
	}
	var told []string
	for _, a := range do {
		if x, is := a.(tu.Respond); is && described(x.Msg) {
			for _, line := range linesOf(sdpOf(x.Msg)) {
				told = append(told, line.kind)
			}
		}
	}
	back := l.answer(told)
	l.ack(from, " sdp="+l.spec(back))
	l.view[from], l.view[1-from] = back, list
}

// TestAnswersHaveTheLinesOfTheirOffers: whatever m= lines a peer answers with, the other one gets those that it has offered, and no
// stream is lost that both want. The stage checks each answer.
func TestAnswersHaveTheLinesOfTheirOffers(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := &lists{t: rt, port: 4000, player: &player{t: t, stage: newStage(rt, "itsp1"), names: map[string]string{}}}
		l.begin()
		for range rapid.IntRange(0, 4).Draw(rt, "offers") {
			if l.c.phase != ending {
				l.offer()
			}
		}
		if l.c.phase != ending {
			l.do("a BYE")
			l.do("b 200")
		}
	})
}
