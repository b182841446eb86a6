package main

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"sallyport/sbc/demo"
)

// pbx ADDRESS:PORT USER PASSWORD answers as the registrar of example.com until the script ends.
func pbx(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: pbx ADDRESS:PORT USER PASSWORD")
	}
	at := netip.MustParseAddrPort(args[0])
	a := demo.NewAgent("pbx", at, socket(ts, at), 1)
	a.Registrar = &demo.Registrar{Domain: "example.com", Users: map[string]string{args[1]: args[2]}}
	play(ts, a)
}

// phone CODE ADDRESS:PORT GATE USER PASSWORD [SECONDS] registers a phone behind a NAT, which shows it at that address, for
// so long (0: leaves again), and waits for the answer.
func phone(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 5 {
		ts.Fatalf("usage: phone CODE ADDRESS:PORT GATE USER PASSWORD [SECONDS]")
	}
	at := netip.MustParseAddrPort(args[1])
	a := demo.NewAgent("phone", netip.MustParseAddrPort("192.168.77.20:5060"), socket(ts, at), byte(at.Port()))
	a.Number, a.Domain, a.Password = args[3], "example.com", args[4]
	outcome := make(chan demo.Registered, 4)
	opt := demo.RegisterOptions{Retry: -1, Heard: func(r demo.Registered) { outcome <- r }}
	leave := false
	if len(args) == 6 {
		n, err := strconv.Atoi(args[5])
		ts.Check(err)
		opt.Expires, leave = time.Duration(n)*time.Second, n == 0
	}
	play(ts, a)
	var registration *demo.Registration
	a.Do(func() { registration = a.Register(netip.MustParseAddrPort(args[2]), opt) })
	expect := func() {
		select {
		case r := <-outcome:
			if strconv.Itoa(r.Code) != args[0] {
				ts.Fatalf("the phone heard %d, want %s", r.Code, args[0])
			}
		case <-time.After(time.Minute):
			ts.Fatalf("the phone heard nothing")
		}
	}
	expect()
	if leave {
		a.Do(registration.End)
		expect()
	}
}

func socket(ts *testscript.TestScript, at netip.AddrPort) *net.UDPConn {
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	ts.Check(err)
	return c
}

// play runs an agent until the script ends.
func play(ts *testscript.TestScript, a *demo.Agent) {
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { a.Run(ctx) })
	ts.Defer(func() { stop(); running.Wait() })
}
