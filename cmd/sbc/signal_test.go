package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sallyport/sbc/api"
	"sallyport/sbc/demo"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// daemon is the program as a process of its own, with a provider and a PBX that talk to it by real sockets.
type daemon struct {
	t             *testing.T
	cmd           *exec.Cmd
	log           *transcript
	up            *demo.Call
	dir           string
	provider, pbx *demo.Agent
	deaf          *deaf
	ended         chan demo.Result
	client        *api.Client
}

const daemonConfig = `
outside: { address: 127.81.20.1, trunks: { udp: 5080 } }
inside: { address: 127.81.20.2, trunks: { udp: 5080 } }
media: { ports: 30000-30019 }
pbx: { domain: example.com, nodes: [ { address: "127.81.20.3:5060" } ], health: { interval: 0 } }
trunks: [ { name: itsp, peers: [ { address: "127.81.20.4:5060" } ], keepalive: { method: none } } ]
policy: { rate_limits: [] }
state: { directory: "$DIR/state" }
cdr: { directory: "$DIR/cdr" }
admin: { socket: "$DIR/s" }
`

// transcript is what the program wrote so far.
type transcript struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *transcript) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *transcript) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// deaf is a socket that does not hear BYE while it is told so.
type deaf struct {
	*net.UDPConn
	mu   sync.Mutex
	on   bool
	byes chan struct{} // one for each BYE that was not heard
}

func (d *deaf) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	for {
		n, from, err := d.UDPConn.ReadFromUDPAddrPort(b)
		d.mu.Lock()
		swallow := d.on && err == nil && bytes.HasPrefix(b[:n], []byte("BYE "))
		d.mu.Unlock()
		if !swallow {
			return n, from, err
		}
		select {
		case d.byes <- struct{}{}:
		default:
		}
	}
}

func startDaemon(t *testing.T, more string) *daemon {
	t.Helper()
	dir := t.TempDir()
	d := &daemon{t: t, dir: dir, log: &transcript{}, ended: make(chan demo.Result, 1)}
	d.configure(daemonConfig + more)
	d.provider, _ = d.agent("provider", "127.81.20.4:5060", nil)
	d.pbx, d.deaf = d.agent("pbx", "127.81.20.3:5060", func(*message.Message) demo.Script {
		return demo.Script{Answer: time.Millisecond, SDP: sound("127.81.20.3", 4002)}
	})
	d.cmd = exec.Command(os.Args[0], "run", "--config", filepath.Join(dir, "sbc.yaml"))
	d.cmd.Env = append(os.Environ(), beMain+"=1")
	d.cmd.Stderr = d.log
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = d.cmd.Process.Kill()
		_ = d.cmd.Wait()
		if t.Failed() {
			t.Logf("its log:\n%s", d.log)
		}
	})
	var err error
	for range 1000 {
		if d.client, err = api.Dial(t.Context(), []string{filepath.Join(dir, "s")}); err == nil {
			return d
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal(err)
	return nil
}

func (d *daemon) configure(yaml string) {
	d.t.Helper()
	if err := os.WriteFile(filepath.Join(d.dir, "sbc.yaml"), []byte(strings.ReplaceAll(yaml, "$DIR", d.dir)), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

func sound(addr string, port int) []byte {
	return fmt.Appendf(nil, "v=0\r\no=- 1 1 IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\nm=audio %d RTP/AVP 0\r\n", addr, addr, port)
}

func (d *daemon) agent(name, at string, incoming func(*message.Message) demo.Script) (*demo.Agent, *deaf) {
	d.t.Helper()
	a := netip.MustParseAddrPort(at)
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(a))
	if err != nil {
		d.t.Fatal(err)
	}
	ears := &deaf{UDPConn: conn, byes: make(chan struct{}, 1)}
	agent := demo.NewAgent(name, a, ears, 7)
	agent.Incoming = incoming // before Run, which reads it
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { agent.Run(ctx) })
	d.t.Cleanup(func() {
		stop()
		running.Wait()
		_ = conn.Close()
	})
	return agent, ears
}

// call sets a call up and waits until the gate has it.
func (d *daemon) call() {
	d.t.Helper()
	up := make(chan struct{})
	script := demo.Script{
		SDP:  sound("127.81.20.4", 4000),
		Up:   func(c *demo.Call) { d.up = c; close(up) },
		Done: func(r demo.Result) { d.ended <- r },
	}
	d.provider.Do(func() { d.provider.Call("100", netip.MustParseAddrPort("127.81.20.1:5080"), script) })
	<-up
	d.until(func() bool {
		calls, err := d.client.Calls(d.t.Context())
		return err == nil && len(calls) == 1 && calls[0].State == "talking"
	})
}

// until waits for a condition, at most ten seconds.
func (d *daemon) until(ok func() bool) {
	d.t.Helper()
	for range 1000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	d.t.Fatal("it never came so far")
}

func (d *daemon) signal(s syscall.Signal) {
	d.t.Helper()
	if err := d.cmd.Process.Signal(s); err != nil {
		d.t.Fatal(err)
	}
}

// exit waits for the end of the process and returns its code.
func (d *daemon) exit() int {
	d.t.Helper()
	d.client.Close()
	_ = d.cmd.Wait()
	return d.cmd.ProcessState.ExitCode()
}

// records are the CDRs that it has left.
func (d *daemon) records() (list []tu.CDR) {
	d.t.Helper()
	files, _ := filepath.Glob(filepath.Join(d.dir, "cdr", "*"))
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			d.t.Fatal(err)
		}
		for line := range bytes.Lines(text) {
			var r tu.CDR
			if err := json.Unmarshal(line, &r); err != nil {
				d.t.Fatalf("%v in %s", err, line)
			}
			list = append(list, r)
		}
	}
	return list
}

func (d *daemon) draining() bool {
	s, err := d.client.Status(d.t.Context())
	return err == nil && s.Draining
}

// TestSignals ends the program by each of its ways while a call is up.
func TestSignals(t *testing.T) {
	for _, tt := range []struct {
		name  string
		drain string
		end   func(d *daemon)
		why   reason.Reason
	}{
		{"SIGTERM until the time is over", "1s", func(d *daemon) { d.signal(syscall.SIGTERM) }, reason.Draining},
		{"SIGTERM twice", "1h", func(d *daemon) {
			d.signal(syscall.SIGTERM)
			d.until(d.draining)
			d.signal(syscall.SIGTERM)
		}, reason.Draining},
		{"SIGTERM until the call ends", "1h", func(d *daemon) {
			d.signal(syscall.SIGTERM)
			d.until(d.draining)
			d.provider.Do(d.up.Hangup)
		}, ""},
		{"SIGINT", "1h", func(d *daemon) { d.signal(syscall.SIGINT) }, reason.Draining},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := startDaemon(t, "drain_timeout: "+tt.drain+"\n")
			d.call()
			tt.end(d)
			if code := d.exit(); code != 0 {
				t.Errorf("exit code %d", code)
			}
			if r := <-d.ended; r.Code != 200 {
				t.Errorf("the caller heard %+v", r)
			}
			if list := d.records(); len(list) != 1 || list[0].Reason != tt.why || list[0].Code == 0 {
				t.Errorf("CDRs %+v", list)
			}
		})
	}
}

// TestAFurtherSignalExits: while it still waits for answers to its BYEs.
func TestAFurtherSignalExits(t *testing.T) {
	d := startDaemon(t, "drain_timeout: 1h\n")
	d.call()
	d.deaf.mu.Lock()
	d.deaf.on = true
	d.deaf.mu.Unlock()
	d.signal(syscall.SIGTERM)
	d.until(d.draining)
	d.signal(syscall.SIGTERM)
	<-d.deaf.byes
	d.signal(syscall.SIGTERM)
	if code := d.exit(); code != exitFailed {
		t.Errorf("exit code %d", code)
	}
}

// TestHangup reloads: a broken file changes nothing and the log says what is wrong with it; a good one counts.
func TestHangup(t *testing.T) {
	d := startDaemon(t, "")
	d.call()
	has := func(bind string) bool {
		s, err := d.client.Status(t.Context())
		if err != nil {
			return false
		}
		for _, i := range s.Interfaces {
			if i.Bind == bind && !i.Closing {
				return true
			}
		}
		return false
	}
	d.configure(strings.NewReplacer("127.81.20.1, trunks: { udp: 5080 }", "127.81.20.1, trunks: { udp: 5090 }", "domain:", "domian:").Replace(daemonConfig))
	d.signal(syscall.SIGHUP)
	d.until(func() bool {
		text := d.log.String()
		return strings.Contains(text, "nothing has changed") && strings.Contains(text, "domian") && strings.Contains(text, "sbc.yaml:5:")
	})
	if !has("127.81.20.1:5080") {
		t.Error("a broken file has changed something")
	}
	d.configure(strings.Replace(daemonConfig, "127.81.20.1, trunks: { udp: 5080 }", "127.81.20.1, trunks: { udp: 5091 }", 1))
	d.until(func() bool {
		d.signal(syscall.SIGHUP)
		return has("127.81.20.1:5091")
	})
	if has("127.81.20.1:5080") || has("127.81.20.1:5090") {
		t.Error("the old listener takes new calls")
	}
	calls, err := d.client.Calls(t.Context())
	if err != nil || len(calls) != 1 {
		t.Errorf("%v %+v", err, calls)
	}
	d.signal(syscall.SIGINT)
	if code := d.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
