package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// beMain in the environment makes the test binary the program itself.
const beMain = "SBC_TEST_BE_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(beMain) != "" {
		os.Exit(execute(os.Args[1:], os.Stdout, os.Stderr))
	}
	testscript.Main(m, map[string]func(){"sbc": main})
}

// TestScripts runs the program as an administrator does. Every script has addresses of its own within 127.81.0.0/16.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("SBC_SOCKET", "")
			e.Setenv("RUNTIME_DIRECTORY", e.WorkDir)
			e.Setenv("XDG_RUNTIME_DIR", e.WorkDir)
			e.Setenv("GORACE", os.Getenv("GORACE")) // under the race detector each program sleeps for a second at its end, unless told
			return expand(e.WorkDir)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "hold": hold, "await": await, "filled": filled, "json": validJSON,
			"pbx": pbx, "phone": phone,
		},
	})
}

// expand puts the script's directory into its configurations: they want whole paths.
func expand(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	for _, name := range files {
		text, readErr := os.ReadFile(name)
		err = errors.Join(err, readErr, os.WriteFile(name, bytes.ReplaceAll(text, []byte("$WORK"), []byte(dir)), 0o600))
	}
	return err
}

// exits CODE PROGRAM ARG... checks the exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARG...")
	}
	code := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		code = exit.ExitCode()
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s\n%s%s", code, args[0], ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}

// hold ADDRESS:PORT keeps a UDP port taken until the script ends.
func hold(ts *testscript.TestScript, _ bool, args []string) {
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(args[0])))
	ts.Check(err)
	ts.Defer(func() { _ = c.Close() })
}

// await FILE waits until somebody answers at a unix socket.
func await(ts *testscript.TestScript, _ bool, args []string) {
	for range 1000 {
		if c, err := net.Dial("unix", ts.MkAbs(args[0])); err == nil {
			_ = c.Close()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	ts.Fatalf("nobody answers at %s", args[0])
}

// json FILE... checks that each holds one JSON value.
func validJSON(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		if text := ts.ReadFile(name); !json.Valid([]byte(text)) {
			ts.Fatalf("%s is no JSON:\n%s", name, text)
		}
	}
}
