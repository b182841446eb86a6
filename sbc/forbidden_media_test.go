package sbc_test

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat/natlab"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
)

// neverMedia are addresses to which nothing is ever sent, whoever names them.
var neverMedia = []string{
	"127.0.0.1", "127.1.2.3", "0.1.2.3", "169.254.1.1", "169.254.169.254", "100.100.100.200", "168.63.129.16",
	"224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "203.0.113.10", "198.51.100.5",
	"::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "fe80::1", "ff02::1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
	"2002:7f00:1::1", "fd00:ec2::254",
}

// trap has the two peers of a call, one of which names what it must not, and sees what the gate sends there.
type trap struct {
	*lab
	bad, good         *wire
	badGate, goodGate netip.AddrPort
	badPort, goodPort int
	named             netip.Addr

	mu     sync.Mutex
	caught []string
}

func newTrap(t *testing.T, inside bool, named string) *trap {
	t.Helper()
	yaml := rewritten(t, labConfig, "    - { address: \"10.0.0.11:5060\", priority: 2 }\n", "",
		"outside: { address: 203.0.113.10,", "outside: { address: 203.0.113.10, external_address: 198.51.100.5,")
	l := newGate(t, yaml, natlab.Options{Seed: 1})
	x := &trap{lab: l, named: netip.MustParseAddr(named).Unmap()}
	x.bad, x.badGate, x.badPort = l.wire(providerAt), trunkSocket, 4000
	x.good, x.goodGate, x.goodPort = l.wire(pbxAt), pbxSocket, 4002
	if inside {
		x.bad, x.good, x.badGate, x.goodGate, x.badPort, x.goodPort = x.good, x.bad, x.goodGate, x.badGate, x.goodPort, x.badPort
	}
	l.net.Observe(func(d natlab.Datagram) {
		l.ladder.note(d)
		if from := d.Src.Addr(); (from == gateOutside || from == gateInside) && d.Dst.Addr().Unmap() == x.named {
			x.mu.Lock()
			defer x.mu.Unlock()
			x.caught = append(x.caught, d.Dst.String())
		}
	})
	return x
}

// lure is the description that names it; honest is what the peer says else.
func (x *trap) lure() []byte   { return describing(x.named.String(), x.badPort) }
func (x *trap) honest() []byte { return sdpAt(x.bad.at.Addr(), x.badPort) }
func (x *trap) other() []byte  { return sdpAt(x.good.at.Addr(), x.goodPort) }

// describing is a description that names an address of either family.
func describing(host string, port int) []byte {
	text := string(sdpAt(netip.MustParseAddr("192.0.2.1"), port))
	if strings.Contains(host, ":") {
		text = strings.ReplaceAll(text, "IN IP4 192.0.2.1", "IN IP6 192.0.2.1")
	}
	return []byte(strings.ReplaceAll(text, "192.0.2.1", host))
}

// talks has the other one send audio and reports to what it was told of, for as long as the gate's ports may rest.
func (x *trap) talks(shown []byte) {
	x.t.Helper()
	door := told(x.t, shown, 0)
	if door.Addr() == externalAt {
		door = netip.AddrPortFrom(gateOutside, door.Port())
	}
	from := netip.AddrPortFrom(x.good.at.Addr(), uint16(x.goodPort))
	for n := range byte(50) {
		x.relay.Inject(door, from, rtp(0, n))
		x.relay.Inject(above(door), above(from), rtcp())
		time.Sleep(20 * time.Millisecond)
	}
}

// sprung checks that nothing went where it must not, by the relay or else, and returns how many datagrams went elsewhere.
func (x *trap) sprung() (elsewhere int) {
	x.t.Helper()
	for _, s := range x.sounds.drain() {
		if s.to.Addr().Unmap() == x.named {
			x.t.Errorf("media goes to %s", s.to)
			return
		}
		elsewhere++
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.caught) > 0 {
		x.t.Errorf("%d datagrams to %s", len(x.caught), x.caught[0])
	}
	return elsewhere
}

func (x *trap) invites(from *wire, gate netip.AddrPort, offer []byte) *message.Message {
	x.t.Helper()
	m := from.request("INVITE", gate, "+4930123")
	if offer != nil {
		withBody(m, offer)
	}
	from.send(gate, m)
	return m
}

// refused is the call record of a call that came to nothing by it.
func (x *trap) refused() {
	x.t.Helper()
	time.Sleep(time.Second)
	if r := x.record(); r.Reason != reason.MediaForbidden {
		x.t.Errorf("CDR %s %d", r.Reason, r.Code)
	}
}

// lures are the places where a description may name what it must not.
var lures = map[string]func(x *trap){
	"offer": func(x *trap) {
		invite := x.invites(x.bad, x.badGate, x.lure())
		if m := x.bad.final(x.badGate, invite); m.Status != 488 {
			x.t.Errorf("%s", m)
		}
		x.good.quiet(time.Second)
		x.refused()
	},
	"early answer": func(x *trap) {
		invite := x.invites(x.good, x.goodGate, x.other())
		arrived := x.bad.want("INVITE")
		x.bad.reply(arrived, 183, x.lure())
		if early := x.good.next(time.Second); early != nil && len(early.Body) > 0 {
			x.talks(early.Body)
		}
		x.bad.reply(arrived, 200, x.lure())
		x.endedBoth(invite)
	},
	"answer": func(x *trap) {
		invite := x.invites(x.good, x.goodGate, x.other())
		x.bad.reply(x.bad.want("INVITE"), 200, x.lure())
		x.endedBoth(invite)
	},
	"answer in the ACK": func(x *trap) {
		invite := x.invites(x.bad, x.badGate, nil)
		arrived := x.good.want("INVITE")
		x.good.reply(arrived, 200, x.other())
		final := x.bad.want("200 INVITE")
		caller, _ := x.ends(x.bad, x.good, x.badGate, invite, arrived, final)
		x.bad.send(x.badGate, withBody(caller.within("ACK", 1), x.lure()))
		x.good.want("ACK")
		x.good.reply(x.good.want("BYE"), 200, nil)
		x.bad.reply(x.bad.want("BYE"), 200, nil)
		x.refused()
	},
	"offer within the call": func(x *trap) {
		c := x.lab.talk(x.bad, x.good, x.badGate, x.honest(), x.other())
		m := withBody(c.caller.within("INVITE", 0), x.lure())
		c.caller.send(c.caller.gate, m)
		if m := x.bad.final(c.caller.gate, m); m.Status != 488 {
			x.t.Errorf("%s", m)
		}
		x.good.quiet(time.Second)
		x.goesOn(c)
	},
	"update": func(x *trap) {
		c := x.lab.talk(x.bad, x.good, x.badGate, x.honest(), x.other())
		c.caller.send(c.caller.gate, withBody(c.caller.within("UPDATE", 0), x.lure()))
		x.bad.want("488 UPDATE")
		x.good.quiet(time.Second)
		x.goesOn(c)
	},
	"answer within the call": func(x *trap) {
		c := x.lab.talk(x.bad, x.good, x.badGate, x.honest(), x.other())
		m := withBody(c.callee.within("INVITE", 0), withLine(x.other(), "a=sendonly\r\n"))
		c.callee.send(c.callee.gate, m)
		x.bad.reply(x.bad.want("INVITE"), 200, withLine(x.lure(), "a=recvonly\r\n"))
		if m := x.good.final(c.callee.gate, m); m.Status != 488 {
			x.t.Errorf("%s", m)
		}
		x.bad.want("ACK")
		x.talks(c.shown[1])
	},
}

// endedBoth: who answered so is acknowledged and hung up on, who called is refused.
func (x *trap) endedBoth(invite *message.Message) {
	x.t.Helper()
	if m := x.good.final(x.goodGate, invite); m.Status != 488 {
		x.t.Errorf("%s", m)
	}
	x.bad.want("ACK")
	x.bad.reply(x.bad.want("BYE"), 200, nil)
	x.refused()
}

// goesOn: the audio of the call goes where it went before.
func (x *trap) goesOn(c talk) {
	x.t.Helper()
	x.sprung()
	x.talks(c.shown[1])
	if n := x.sprung(); n < 100 {
		x.t.Errorf("%d datagrams of the call go on, want 100", n)
	}
	hangup(c.caller, c.callee)
}

// TestNothingIsSentWhereMediaMustNotGo: an address of this machine or its link, of nobody or of many, or of a cloud's
// metadata, in either family and each spelling, named from outside and from inside in whatever carries a description: the
// description is refused, and nothing is sent there.
func TestNothingIsSentWhereMediaMustNotGo(t *testing.T) {
	t.Parallel()
	for side, inside := range map[string]bool{"outside": false, "inside": true} {
		for place, spring := range lures {
			list := neverMedia
			if place != "offer" && place != "answer" {
				list = []string{"127.0.0.1", "169.254.169.254", "224.0.0.1", "203.0.113.10", "::ffff:127.0.0.1", "64:ff9b::a9fe:a9fe"}
			}
			for _, named := range list {
				t.Run(fmt.Sprintf("%s/%s/%s", side, place, named), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						x := newTrap(t, inside, named)
						defer x.close()
						spring(x)
						x.sprung()
					})
				})
			}
		}
	}
}

// TestOwnPortsAsDestinations: of our own ports those inside alone may be named, from inside alone, and only those that
// another call has.
func TestOwnPortsAsDestinations(t *testing.T) {
	for name, c := range map[string]struct {
		inside bool
		named  string
	}{
		"a media port outside, from outside": {false, "203.0.113.10:30000"},
		"a media port inside, from outside":  {false, "10.0.0.2:30000"},
		"a media port outside, from inside":  {true, "203.0.113.10:30000"},
		"a free media port inside":           {true, "10.0.0.2:30500"},
		"a reporting port inside":            {true, "10.0.0.2:30501"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				at := netip.MustParseAddrPort(c.named)
				x := newTrap(t, c.inside, at.Addr().String())
				defer x.close()
				x.badPort = int(at.Port())
				invite := x.invites(x.bad, x.badGate, x.lure())
				if m := x.bad.final(x.badGate, invite); m.Status != 488 {
					t.Errorf("%s", m)
				}
				x.refused()
				x.sprung()
			})
		})
	}
}

// TestReportsAndCandidatesGoNowhereElse: what a description names besides where its audio is, is no destination where it
// must not be: reports go above the audio's port instead, candidates are none at all.
func TestReportsAndCandidatesGoNowhereElse(t *testing.T) {
	for side, inside := range map[string]bool{"outside": false, "inside": true} {
		for _, named := range neverMedia {
			t.Run(side+"/"+named, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					x := newTrap(t, inside, named)
					defer x.close()
					family := "IP4"
					if strings.Contains(named, ":") {
						family = "IP6"
					}
					offer := withLine(x.honest(), fmt.Sprintf("a=rtcp:4001 IN %s %s\r\na=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\n"+
						"a=candidate:1 1 UDP 2130706431 %[2]s 4000 typ host\r\na=candidate:1 2 UDP 2130706430 %[2]s 4001 typ host\r\n", family, named))
					c := x.lab.talk(x.bad, x.good, x.badGate, offer, x.other())
					if shown := string(c.shown[1]); strings.Contains(shown, "candidate") || named != externalAt.String() && strings.Contains(shown, named) {
						t.Errorf("the other one is shown it:\n%s", c.shown[1])
					}
					x.goesOn(c)
				})
			})
		}
	}
}
