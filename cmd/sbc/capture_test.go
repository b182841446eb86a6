package main

import (
	"os"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// filled FILE waits until something is in it.
func filled(ts *testscript.TestScript, _ bool, args []string) {
	for range 1000 {
		if info, err := os.Stat(ts.MkAbs(args[0])); err == nil && info.Size() > 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	ts.Fatalf("nothing comes into %s", args[0])
}
