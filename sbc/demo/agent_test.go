package demo

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat/natlab"
	"sallyport/sbc/message"
)

var (
	aliceAt = netip.MustParseAddrPort("192.0.2.1:5060")
	bobAt   = netip.MustParseAddrPort("192.0.2.2:5060")
)

var (
	aliceSDP = []byte("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n")
	bobSDP   = []byte("v=0\r\no=- 2 2 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=0 0\r\nm=audio 4002 RTP/AVP 0\r\n")
	holdSDP  = append(bytes.Clone(aliceSDP), "a=sendonly\r\n"...)
)

// duo is two agents that call each other on a network in memory.
type duo struct {
	t          *testing.T
	net        *natlab.Network
	alice, bob *Agent
	running    sync.WaitGroup
	stop       context.CancelFunc

	mu   sync.Mutex
	wire []string // start lines that bob sent or heard, in order
}

func newDuo(t *testing.T, link natlab.Link) *duo {
	t.Helper()
	d := &duo{t: t, net: natlab.New(natlab.Options{Seed: 3, Link: link})}
	ctx, stop := context.WithCancel(t.Context())
	d.stop = stop
	agent := func(name string, at netip.AddrPort, seed byte) *Agent {
		conn, err := d.net.Host(at.Addr()).ListenUDP(at.Port())
		if err != nil {
			t.Fatal(err)
		}
		a := NewAgent(name, at, conn, seed)
		if name == "bob" {
			a.Trace = d.trace
		}
		d.running.Go(func() { a.Run(ctx) })
		return a
	}
	d.alice, d.bob = agent("alice", aliceAt, 1), agent("bob", bobAt, 2)
	return d
}

func (d *duo) trace(_ bool, _ netip.AddrPort, b []byte) {
	line, _, _ := strings.Cut(string(b), "\r\n")
	line = strings.TrimSuffix(strings.TrimPrefix(line, "SIP/2.0 "), " SIP/2.0")
	if word, _, ok := strings.Cut(line, " sip:"); ok {
		line = word
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wire = append(d.wire, line)
}

func (d *duo) close() {
	d.stop()
	d.running.Wait()
	d.net.Close()
	synctest.Wait()
}

// call lets alice call bob and returns how it went at both ends. A callee who never heard of the call has no Why.
func (d *duo) call(caller, callee Script) (a, b Result) {
	d.t.Helper()
	heard, rang := make(chan Result, 1), make(chan Result, 1)
	caller.Done, callee.Done = func(r Result) { heard <- r }, func(r Result) { rang <- r }
	arrived := make(chan bool, 1)
	ready := make(chan bool)
	d.bob.Do(func() {
		d.bob.Incoming = func(*message.Message) Script { arrived <- true; return callee }
		close(ready)
	})
	<-ready
	d.alice.Do(func() { d.alice.Call("bob", bobAt, caller) })
	select {
	case a = <-heard:
	case <-time.After(10 * time.Minute):
		d.t.Fatal("alice never heard the end of the call")
	}
	select {
	case <-arrived:
	default:
		return a, b
	}
	select {
	case b = <-rang:
	case <-time.After(10 * time.Minute):
		d.t.Fatal("bob never heard the end of the call")
	}
	return a, b
}

func (d *duo) empty() {
	d.t.Helper()
	time.Sleep(3 * time.Minute)
	for _, a := range []*Agent{d.alice, d.bob} {
		if calls, txs := a.Calls(d.t.Context()); calls != 0 || txs != 0 {
			d.t.Errorf("%s still holds %d calls and %d transactions", a.Name, calls, txs)
		}
		if n := len(a.tags); n != 0 {
			d.t.Errorf("%s still knows %d tags", a.Name, n)
		}
	}
}

const (
	soon  = 100 * time.Millisecond
	later = time.Second
)

var endings = []struct {
	name           string
	caller, callee Script
	code           int
	alice, bob     string // why it ended; "either" where it is a race
	wire           string // what a perfect network carries, at bob; empty: a race
}{
	{"caller hangs up", Script{Hangup: later}, Script{Ring: soon, Answer: soon}, 200, "BYE sent", "BYE received",
		"INVITE|100 Trying|180 Ringing|200 OK|ACK|BYE|200 OK"},
	{"callee hangs up", Script{}, Script{Answer: soon, Hangup: later}, 200, "BYE received", "BYE sent",
		"INVITE|100 Trying|200 OK|ACK|BYE|200 OK"},
	{"both hang up", Script{Hangup: later}, Script{Answer: soon, Hangup: later}, 200, "either", "either", ""},
	{"busy", Script{}, Script{Answer: soon, Refuse: 486}, 486, "refused", "refused", "INVITE|100 Trying|486 Busy Here|ACK"},
	{"declined after ringing", Script{}, Script{Ring: soon, Answer: soon, Refuse: 603}, 603, "refused", "refused",
		"INVITE|100 Trying|180 Ringing|603 Decline|ACK"},
	{"cancelled while ringing", Script{Cancel: later}, Script{Ring: soon, Answer: -1}, 487, "refused", "cancelled",
		"INVITE|100 Trying|180 Ringing|CANCEL|200 OK|487 Request Terminated|ACK"},
	{"cancelled at once", Script{Cancel: 1}, Script{Ring: soon, Answer: -1}, 487, "refused", "cancelled", ""},
	{"early media", Script{Hangup: later}, Script{Early: bobSDP, Answer: soon}, 200, "BYE sent", "BYE received",
		"INVITE|100 Trying|183 Session Progress|200 OK|ACK|BYE|200 OK"},
	{"hold by the caller", Script{Reinvite: soon, Hold: holdSDP, Hangup: later}, Script{Answer: soon}, 200, "BYE sent", "BYE received",
		"INVITE|100 Trying|200 OK|ACK|INVITE|200 OK|ACK|BYE|200 OK"},
	{"hold by the callee", Script{Hangup: later}, Script{Answer: soon, Reinvite: soon, Hold: holdSDP}, 200, "BYE sent", "BYE received",
		"INVITE|100 Trying|200 OK|ACK|INVITE|200 OK|ACK|BYE|200 OK"},
}

func TestTwoAgentsEndEveryWay(t *testing.T) {
	for _, e := range endings {
		t.Run(e.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDuo(t, natlab.Link{})
				defer d.close()
				e.caller.SDP, e.callee.SDP = aliceSDP, bobSDP
				a, b := d.call(e.caller, e.callee)
				if a.Code != e.code || b.Code != e.code {
					t.Errorf("codes %d and %d, want %d", a.Code, b.Code, e.code)
				}
				if e.alice != "either" && (a.Why != e.alice || b.Why != e.bob) {
					t.Errorf("ended by %q and %q, want %q and %q", a.Why, b.Why, e.alice, e.bob)
				}
				d.empty()
				if wire := strings.Join(d.wire, "|"); e.wire != "" && wire != e.wire {
					t.Errorf("on the wire %s\nwant        %s", wire, e.wire)
				}
				if e.code == 200 && !bytes.Equal(a.SDP, bobSDP) && !bytes.Equal(a.SDP, holdSDP) {
					t.Errorf("alice kept %q", a.SDP)
				}
			})
		})
	}
}

// TestAgentsShareNoIDs: two agents at one private address, of one seed, are two callers.
func TestAgentsShareNoIDs(t *testing.T) {
	at := netip.MustParseAddrPort("192.168.1.10:5060")
	x, y, again := NewAgent("phone 1", at, nil, 7), NewAgent("phone 2", at, nil, 7), NewAgent("phone 1", at, nil, 7)
	id := x.ids.CallID()
	if id == y.ids.CallID() || x.ids.Tag() == y.ids.Tag() || x.ids.Branch() == y.ids.Branch() {
		t.Error("two agents have the same identifiers")
	}
	if id != again.ids.CallID() {
		t.Error("an agent's identifiers are not the same in each run")
	}
}

func TestTwoAgentsSurviveLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDuo(t, natlab.Link{Loss: 0.2, Duplicate: 0.1, Delay: 5 * time.Millisecond, Jitter: 20 * time.Millisecond, Reorder: true})
		defer d.close()
		for range 20 {
			for _, e := range endings {
				e.caller.SDP, e.callee.SDP = aliceSDP, bobSDP
				if e.callee.Hangup == 0 {
					e.callee.Hangup = time.Minute
				}
				if e.callee.Answer < 0 { // the CANCEL may fail for good
					e.callee.Answer, e.callee.Refuse = time.Minute, 480
				}
				a, _ := d.call(e.caller, e.callee)
				if a.Code != e.code && a.Code != 408 && a.Code != 480 {
					t.Errorf("%s: alice heard %d (%s), want %d", e.name, a.Code, a.Why, e.code)
				}
			}
		}
		d.empty()
	})
}

func TestReinvitesCross(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDuo(t, natlab.Link{Delay: 20 * time.Millisecond})
		defer d.close()
		codes := make(chan int, 2)
		script := Script{Reinvited: func(code int) { codes <- code }, Hold: holdSDP}
		caller, callee := script, script
		caller.SDP, caller.Reinvite, caller.Hangup = aliceSDP, soon+20*time.Millisecond, later
		callee.SDP, callee.Reinvite, callee.Answer = bobSDP, soon, soon
		d.call(caller, callee)
		if a, b := <-codes, <-codes; a != 491 || b != 491 {
			t.Errorf("re-INVITEs that crossed met %d and %d, want 491 for both (RFC 3261 §14.2)", a, b)
		}
		d.empty()
	})
}

func TestReinvitesInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDuo(t, natlab.Link{})
		defer d.close()
		var answers []string
		var caller Script
		var c *Call
		caller = Script{
			SDP: aliceSDP, Up: func(up *Call) { c = up; c.Reinvite(holdSDP) },
			Media: func(b []byte) { answers = append(answers, string(b[len(b)-10:])) },
		}
		n := 0
		caller.Reinvited = func(code int) {
			if n++; code != 200 || n == 4 {
				c.Hangup()
				return
			}
			c.Reinvite(aliceSDP)
		}
		reply := func(offer []byte) []byte { return fmt.Appendf(nil, "%sa=%09d\r\n", bobSDP, len(offer)) }
		if a, _ := d.call(caller, Script{Answer: soon, Reply: reply}); a.Code != 200 || n != 4 {
			t.Errorf("heard %d, %d re-INVITEs answered of 4", a.Code, n)
		}
		if len(answers) != 5 {
			t.Errorf("%d answers, want one for each offer: %q", len(answers), answers)
		}
		d.empty()
	})
}

func TestNobodyAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDuo(t, natlab.Link{})
		defer d.close()
		d.net.Host(bobAt.Addr()).Down(true)
		if a, _ := d.call(Script{SDP: aliceSDP}, Script{}); a.Code != 408 || a.Why != "no answer" {
			t.Errorf("heard %d (%s), want 408", a.Code, a.Why)
		}
		d.empty()
	})
}

func TestAnswerAndCancelCross(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDuo(t, natlab.Link{Delay: 50 * time.Millisecond})
		defer d.close()
		// The 200 leaves bob after the CANCEL has left alice and before it arrives.
		a, b := d.call(Script{SDP: aliceSDP, Cancel: 220 * time.Millisecond}, Script{SDP: bobSDP, Answer: 200 * time.Millisecond})
		if a.Why != "answered after CANCEL" || b.Why != "BYE received" {
			t.Errorf("ended by %q and %q, want a BYE of the caller (RFC 3261 §9.1)", a.Why, b.Why)
		}
		d.empty()
	})
}

func TestTheAckNeverComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDuo(t, natlab.Link{})
		defer d.close()
		callee := Script{SDP: bobSDP, Answer: soon}
		// From the 200 on nothing of alice arrives, but for the time after 64·T1.
		done := make(chan bool)
		go func() {
			time.Sleep(soon / 2)
			d.net.Impair(aliceAt.Addr(), bobAt.Addr(), natlab.Link{Loss: 1})
			time.Sleep(33 * time.Second)
			d.net.Impair(aliceAt.Addr(), bobAt.Addr(), natlab.Link{})
			close(done)
		}()
		a, b := d.call(Script{SDP: aliceSDP}, callee)
		<-done
		if a.Why != "BYE received" || b.Why != "no ACK" {
			t.Errorf("ended by %q and %q, want a BYE of the callee (RFC 3261 §13.3.1.4)", a.Why, b.Why)
		}
		d.empty()
	})
}

func TestDelayedOffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDuo(t, natlab.Link{})
		defer d.close()
		a, b := d.call(Script{Hold: aliceSDP, Hangup: later}, Script{SDP: bobSDP, Answer: soon})
		if !bytes.Equal(a.SDP, bobSDP) || !bytes.Equal(b.SDP, aliceSDP) {
			t.Errorf("alice kept %q, bob %q: want each other's", a.SDP, b.SDP)
		}
		d.empty()
	})
}

func TestRequestsOutsideCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDuo(t, natlab.Link{})
		defer d.close()
		request := func(method, tag string) []byte {
			return fmt.Appendf(nil, "%s sip:bob@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bK%s\r\nMax-Forwards: 70\r\n"+
				"From: <sip:x@192.0.2.9>;tag=1\r\nTo: <sip:bob@192.0.2.2>%s\r\nCall-ID: %s@x\r\nCSeq: 1 %s\r\nContent-Length: 0\r\n\r\n",
				method, method, tag, method, method)
		}
		for _, b := range [][]byte{request("OPTIONS", ""), request("BYE", ";tag=unknown"), []byte("no SIP\r\n\r\n")} {
			if err := d.net.Inject(netip.MustParseAddrPort("192.0.2.9:5060"), bobAt, b); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		want := "OPTIONS|200 OK|BYE|481 Call/Transaction Does Not Exist|no SIP"
		if got := strings.Join(d.wire, "|"); got != want {
			t.Errorf("on the wire %s, want %s", got, want)
		}
		d.empty()
	})
}

func TestForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDuo(t, natlab.Link{})
		defer d.close()
		up := make(chan *Call, 1)
		d.alice.Do(func() { d.alice.Call("bob", bobAt, Script{SDP: aliceSDP, Up: func(c *Call) { up <- c }}) })
		c := <-up
		if d.alice.Forget(t.Context()) {
			t.Error("Forget dropped a call in progress")
		}
		d.alice.Do(c.Hangup)
		synctest.Wait()
		if !d.alice.Forget(t.Context()) {
			t.Error("Forget refused although no call is in progress")
		}
		if calls, txs := d.alice.Calls(t.Context()); calls+txs != 0 {
			t.Errorf("%d calls and %d transactions are remembered", calls, txs)
		}
		d.empty()
	})
}
