package call

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
	"sallyport/sbc/tu/script"
)

// TestGolden plays the files of testdata/call. A file is a list of blocks: an event, a line of dashes, the actions that came of
// it. Lines that begin with # are comments. README.txt there tells the language.
func TestGolden(t *testing.T) { script.Golden(t, "../../testdata/call/*.txt", 40, play) }

// play runs a script and returns it with the actions that came of it.
func play(t *testing.T, text string) string {
	p := &player{t: t, stage: newStage(t, "itsp1"), names: script.Names{}}
	out := script.Play(text, func(line string) (lines []string) {
		for _, a := range p.event(line) {
			lines = append(lines, p.show(a))
		}
		return lines
	})
	if !p.ended && !strings.Contains(text, "# the call goes on") {
		t.Error("the call has not ended at the end of the file")
	}
	return out
}

// player runs a script on a stage.
type player struct {
	t *testing.T
	*stage
	names script.Names      // ids of ours, by what they are called in the file
	first map[string]uint32 // the first RSeq of each dialog with the caller
}

// words are the arguments of an event: name=value.
type words = script.Words

func (p *player) event(line string) []tu.Action {
	what, plain, w := script.Event(line)
	switch what {
	case "from":
		p.stage = newStage(p.t, plain[0])
		p.hop[caller].Peer.Media.DTMF = dtmfOf(w["dtmf"])
		lives(p.hop[caller].Peer, w)
		transfers(p.hop[caller].Peer, w)
		return nil
	case "a", "b":
		return p.peer(int(what[0]-'a'), plain[0], w)
	case "again": // the phone answers a challenge: another INVITE, the same call
		before := p.stage
		if !before.ended {
			p.t.Fatal("the challenged call goes on")
		}
		p.stage = newStage(p.t, plain[0])
		p.c = New(before.c.set, tu.Seed{8})
		p.c.Resume(before.c.ID(), before.records[0].Start)
		p.now, p.invites = before.now, before.invites
		return nil
	case "moved":
		return p.movedTo(plain[0], w)
	case "correlate":
		p.c.Correlate(plain[0])
		return nil
	case "stranger":
		m := p.request(caller, plain[0], p.tagOf(caller, w), p.next(caller, w), nil)
		return p.step(p.arrive(caller, m, elsewhere))
	case "routed":
		return p.routed(plain, w)
	case "reserved":
		n, _ := strconv.Atoi(plain[0])
		got := p.reserved(n)
		if w["print"] == "none" {
			got.Print = tu.Fingerprint{}
		}
		return p.step(got)
	case "trying":
		return p.step(tu.Trying{Ref: p.client(w, callee).ref})
	case "failed":
		return p.failed(plain[0], w)
	case "tick":
		return p.tick(plain[0])
	case "hangup":
		code, _ := strconv.Atoi(plain[0])
		return p.step(tu.Hangup{Code: code, Why: reason.Reason(w["why"])})
	case "digit":
		return p.digit(plain[0], w)
	case "silence":
		return p.step(tu.MediaHint{Silent: true})
	case "media-refused":
		return p.step(tu.MediaRefused{})
	case "abort":
		// A Step that panics has changed things and sent nothing.
		p.c.Step(p.now, tu.Hangup{Code: 500, Why: reason.Internal}, nil)
		do := p.c.Abort(p.now, nil)
		p.lawless = true
		p.take(do)
		return do
	}
	if do, known := p.transferEvent(what, plain, w); known {
		return do
	}
	p.t.Fatalf("unknown event %q", line)
	return nil
}

func (p *player) routed(names []string, w words) []tu.Action {
	ev := tu.Routed{Code: w.Number("code", 0), Why: reason.Reason(w["why"]), Peer: w["peer"]}
	for _, name := range names {
		h := stageHop(name)
		if d, err := time.ParseDuration(w["ring"]); err == nil {
			h.Peer.RingTimeout = d
		}
		h.Peer.Media.DTMF = dtmfOf(w["dtmf"])
		lives(h.Peer, w)
		transfers(h.Peer, w)
		p.lets(h, w["known"])
		ev.Hops = append(ev.Hops, h)
	}
	if w["first"] != "" {
		ev.Hops[0].Peer.Codecs = strings.Split(w["first"], ",")
	}
	return p.step(ev)
}

func (p *player) failed(status string, w words) []tu.Action {
	code, _ := strconv.Atoi(status)
	x := p.client(w, callee)
	x.final = code
	ev := tu.Failed{Ref: x.ref, Code: code, Why: reason.Timeout, Lost: w["lost"] != ""}
	if w["why"] != "" {
		ev.Why = reason.Reason(w["why"])
	}
	return p.step(ev)
}

// tick lets time pass; a Tick comes when the deadline does.
func (p *player) tick(by string) []tu.Action {
	d, err := time.ParseDuration(strings.TrimPrefix(by, "+"))
	if err != nil {
		p.t.Fatal(err)
	}
	end := p.now.Add(d)
	var do []tu.Action
	for {
		due := p.c.Deadline()
		if due.IsZero() || due.After(end) {
			p.now = end
			return do
		}
		p.now = due
		do = append(do, p.step(tu.Tick{})...)
	}
}

// client picks the request of ours that an event is about: re=N, else the last one to the leg that has no final answer,
// else the last one.
func (p *player) client(w words, leg int) *client {
	if n := w.Number("re", 0); n > 0 {
		return p.clients[tu.Ref(n)]
	}
	var found *client
	for _, ref := range p.refs {
		if x := p.clients[ref]; x.leg == leg && (x.final == 0 || found == nil || found.final != 0) {
			found = x
		}
	}
	if found == nil {
		p.t.Fatal("no request to answer")
	}
	return found
}

// tagOf is the tag that a request of a leg is told by.
func (p *player) tagOf(l int, w words) string {
	if l == callee {
		if w["tag"] != "" {
			return w["tag"]
		}
		return "x"
	}
	if n := w.Number("dialog", 1); n <= len(p.tags) {
		return p.tags[n-1]
	}
	return "nobody"
}

// next is the CSeq of a leg's next request.
func (p *player) next(l int, w words) uint32 {
	n := &p.invites
	if l == callee {
		n = &p.calleeN
	}
	*n = uint32(w.Number("cseq", int(*n)+1))
	return *n
}

func (p *player) peer(l int, what string, w words) []tu.Action {
	at := p.hop[l].Flow.Remote
	if l == callee && at == (netip.AddrPort{}) {
		p.t.Fatalf("%s: nobody has been called", what)
	}
	var body []byte
	if w["sdp"] != "" {
		body = describe(homeOf(p.hop[l]), w["sdp"])
	}
	if code, err := strconv.Atoi(what); err == nil {
		tag := w["tag"]
		if tag == "" && code > 100 && w["tagless"] == "" {
			tag = "x"
		}
		x := p.client(w, l)
		if code < 200 && x.msg.Method != "INVITE" && w["re"] == "" {
			x = p.invited(l)
		}
		ev := p.response(x, code, tag, body)
		p.adorn(ev.Msg, w)
		if w["at"] != "" {
			ev.Flow = p.flowOf(ev.Flow, w["at"], w)
		}
		return p.step(ev)
	}
	switch what {
	case "ACK", "CANCEL", "NOACK":
		return p.follow(l, what, w, body)
	}
	tag := ""
	if l == callee || what != "INVITE" || len(p.order) > 0 {
		tag = p.tagOf(l, w)
	}
	m := p.request(l, what, tag, p.next(l, w), body)
	if what == "PRACK" {
		m.Add("RAck", p.rack(tag, w.Number("rack", 0)))
	}
	p.inDialogOf(m, w)
	p.adorn(m, w)
	ev := p.arrive(l, m, netip.AddrPort{})
	p.standsAt(&ev, w)
	if w["from"] != "" {
		h := stageHop(w["from"])
		p.servers[ev.Tx].foreign = p.hop[l].Peer.Kind == tu.KindPhone && ev.Flow.Remote.Addr() != h.Flow.Remote.Addr()
		ev.Flow.Remote, ev.Peer = h.Flow.Remote, h.Peer
	}
	p.comesBy(&ev, w)
	return p.step(ev)
}

// comesBy lets a phone's request come by another flow: at=ADDRESS:PORT conn=N interface=N; bound=1: where it has registered.
func (p *player) comesBy(ev *tu.Arrived, w words) {
	if w["at"] == "" {
		return
	}
	stranger := *ev.Peer
	stranger.Name, stranger.AoRs, stranger.Token, stranger.Stranger = "", nil, "", true
	if w["bound"] != "" {
		stranger.AoRs = []string{"299@example.com", ev.Peer.Name}
	}
	before := ev.Flow.Remote.Addr()
	ev.Peer = &stranger
	ev.Flow = p.flowOf(ev.Flow, w["at"], w)
	ev.Here.Interface = ev.Flow.Interface
	if w["bound"] == "" && before != ev.Flow.Remote.Addr() {
		p.servers[ev.Tx].foreign = true
		delete(p.flows, ev.Flow)
	}
}

func (p *player) flowOf(f nat.Flow, at string, w words) nat.Flow {
	f.Remote = netip.MustParseAddrPort(at)
	f.Conn = uint64(w.Number("conn", int(f.Conn)))
	f.Interface = uint16(w.Number("interface", int(f.Interface)))
	p.flows[f] = true
	return f
}

// movedTo tells of a phone's new flow, by its token.
func (p *player) movedTo(at string, w words) []tu.Action {
	for l := range p.hop {
		if h := p.hop[l]; h.Peer != nil && h.Peer.Kind == tu.KindPhone {
			f := p.flowOf(h.Flow, at, w)
			return p.step(tu.Moved{Token: h.Peer.Token, Flow: f, Here: seenOn(h.Here, f)})
		}
	}
	return p.step(tu.Moved{Token: "token204token204", Flow: p.flowOf(phoneAt["phone1"].flow, at, w)})
}

// seenOn is what a phone on another flow sees of us.
func seenOn(here tu.Local, f nat.Flow) tu.Local {
	here.Interface, here.Transport = f.Interface, f.Transport
	return here
}

// adorn adds what an event says of a message beside its body: Header=value with _ for a blank, maxforwards=, text=.
func (p *player) adorn(m *message.Message, w words) {
	var kind string
	asks(m, w["ask"])
	for _, k := range slices.Sorted(mapKeys(w)) {
		v := p.byName(strings.ReplaceAll(w[k], "_", " "))
		switch {
		case k == "uri", k == "from-uri":
			u, err := message.ParseURI(v)
			if err != nil {
				p.t.Fatal(err)
			}
			if k == "uri" {
				m.URI, m.To.URI = u, u
			} else {
				m.From.URI = u
			}
		case k == "relay", k == "plain":
			m.Body, kind = digitBody(k, w[k])
			m.Set("Content-Type", kind)
		case k == "maxforwards":
			m.MaxForwards = w.Number(k, 0)
		case k == "frag": // a sipfrag; | ends a line
			m.Body = []byte(strings.ReplaceAll(v, "|", "\r\n"))
			m.Set("Content-Type", "message/sipfrag")
		case k == "text":
			m.Body = []byte(v)
			m.Set("Content-Type", "text/plain")
		case k == "rseq": // reliably
			m.Set("Require", "100rel")
			m.Set("RSeq", v)
		case v == "none":
			m.Remove(k)
		case k[0] >= 'A' && k[0] <= 'Z':
			m.Set(k, v)
		}
	}
}

func mapKeys(w words) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range w {
			if !yield(k) {
				return
			}
		}
	}
}

// follow is what belongs to an INVITE of a leg: the last one, or tx=N.
func (p *player) follow(l int, what string, w words, body []byte) []tu.Action {
	var tx tu.TxID
	for _, id := range p.order {
		x := p.servers[id]
		if x.leg == l && x.msg.Method == "INVITE" && (what == "CANCEL" || x.final/100 == 2 && !x.acked) {
			tx = id
		}
	}
	if n := w.Number("tx", 0); n > 0 {
		tx = tu.TxID(n)
	}
	x := p.servers[tx]
	if x == nil {
		p.t.Fatalf("no INVITE for this %s", what)
	}
	switch what {
	case "CANCEL":
		m := p.request(l, "CANCEL", "", x.msg.CSeq, nil)
		p.adorn(m, w)
		return p.step(tu.Cancelled{Tx: tx, Msg: m})
	case "NOACK":
		x.acked = true
		return p.step(tu.NotAcked{Tx: tx})
	}
	x.acked = true
	m := p.request(l, "ACK", x.sent.To.Tag, x.msg.CSeq, body)
	return p.step(tu.Acked{Tx: tx, Msg: m})
}
