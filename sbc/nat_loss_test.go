package sbc_test

import (
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat"
	"sallyport/nat/natlab"
	"sallyport/sbc/demo"
	"sallyport/sbc/message"
)

// TestNATWithLossAndReordering: "loss 5 % and reordering harmless". A phone registers, stays registered, and 200 calls
// each way, of every ending, end as they should, each with its record.
func TestNATWithLossAndReordering(t *testing.T) {
	t.Parallel()
	const calls = 200
	for _, tr := range []nat.Transport{nat.UDP, nat.TCP} {
		for _, o := range []natlab.NATOptions{{}, strictest} {
			t.Run(tr.String()+"/"+o.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := newAudible(t, roamingConfig, natlab.Options{
						Seed: 12, Link: natlab.Link{Loss: 0.05, Jitter: 30 * time.Millisecond, Delay: 10 * time.Millisecond, Reorder: true},
					}, nil)
					defer l.close()
					h := l.handset(l.home(7, o).Host(private), "204", 5060, tr, private)
					h.registers()
					l.many(h, calls)
					h.leaves()
					l.settled()
				})
			})
		}
	}
}

// many lets the PBX call a phone, and the phone the PBX, in turn, and checks the records.
func (l *audible) many(h *handset, calls int) {
	l.t.Helper()
	var ended atomic.Int64
	answerBy := func(a *demo.Agent, sdp []byte) {
		l.do(a, func() {
			a.Incoming = func(m *message.Message) demo.Script {
				i, _ := strconv.Atoi(m.From.URI.User)
				if a == l.pbx {
					i, _ = strconv.Atoi(strings.TrimPrefix(m.URI.User, "+49"))
				}
				s := endings[i%len(endings)].callee
				if s.SDP = sdp; s.Early != nil {
					s.Early = sdp
				}
				if s.Hangup == 0 {
					s.Hangup = 20 * time.Second // the caller may have lost the 200
				}
				if s.Answer < 0 {
					s.Answer, s.Refuse = 3*time.Minute, 480
				}
				return s
			}
		})
	}
	sdp := map[*demo.Agent][]byte{h.agent: sdpAt(private, 4000), l.pbx: sdpAt(pbxAt.Addr(), 4002)}
	answerBy(h.agent, sdp[h.agent])
	answerBy(l.pbx, sdp[l.pbx])
	for i := range calls {
		for _, from := range []*demo.Agent{h.agent, l.pbx} {
			s := endings[i%len(endings)].caller
			s.SDP = sdp[from]
			s.Done = func(demo.Result) { ended.Add(1) }
			from.Do(func() {
				if from == h.agent {
					from.Call(fmt.Sprintf("+49%04d", i), portOf(h.transport), s)
					return
				}
				list := l.registrar.Contacts(h.user, time.Now())
				if len(list) == 0 {
					l.t.Errorf("call %d: the phone is not registered at the PBX", i)
					return
				}
				from.Number = fmt.Sprintf("%04d", i)
				from.Invite(list[0].URI, message.NameAddr{URI: message.URI{Scheme: "sip", User: h.user, Host: "example.com"}}, phonesInside, s)
			})
			time.Sleep(2 * time.Second)
		}
	}
	time.Sleep(5 * time.Minute)
	l.mustBe(h.user + "@example.com")
	if n := ended.Load(); n != int64(2*calls) {
		l.t.Errorf("%d of %d callers heard an end", n, 2*calls)
	}
	l.outcomes(2 * calls)
}

// outcomes checks that calls ended as their endings say, but for the few whose 5 % were the wrong ones.
func (l *audible) outcomes(calls int) {
	l.t.Helper()
	g := l.gate.Gauges()
	records := l.cdrs.all()
	if len(records) != int(g.Total) || len(records) < calls*98/100 {
		l.t.Errorf("%d records for %d calls, %d were placed", len(records), g.Total, calls)
	}
	odd := map[string]int{}
	unlike, ids := 0, map[string]bool{}
	for _, r := range records {
		if ids[r.Call] {
			l.t.Errorf("two records of call %s", r.Call)
		}
		ids[r.Call] = true
		number := r.From
		if r.Direction == "inbound" {
			number = strings.TrimPrefix(r.To, "+49")
		}
		i, err := strconv.Atoi(number)
		if err != nil {
			l.t.Fatalf("whose is %+v", r)
		}
		e := endings[i%len(endings)]
		if r.Code == e.code || r.Code == 407 && e.caller.Cancel > 0 && r.Direction == "inbound" { // the PBX's challenge and the CANCEL crossed
			continue
		}
		unlike++
		odd[fmt.Sprint(e.name, ": ", r.Code, " ", r.Reason, " by ", r.EndedBy)]++
	}
	if unlike > calls/100 {
		l.t.Errorf("%d of %d calls ended in another way than their ends meant: %v", unlike, calls, odd)
	}
}
