package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"sallyport/sbc"
)

// lockState makes the state directory and keeps a second program from using it at the same time. where is how its key was written, as
// errors say it.
func lockState(dir, where string) (release func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("%s: %w\n  hint: create it for the user that runs sbc, mode 0700; %s", where, err, elsewhere)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n  hint: it must belong to the user that runs sbc (chown -R sbc: %s, if that is sbc; mode 0700); %s", where, err, dir, elsewhere)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("%s: %s is used by another sbc\n  hint: stop it, or give this one a directory of its own: --state-dir DIR, or the key state.directory", where, dir)
	}
	return func() { _ = f.Close() }, nil
}

// elsewhere is for users who have no right to a directory.
const elsewhere = "or name one of your own: --state-dir DIR (which takes call records and captures, too), or the key state.directory"

// kept is what outlives the program.
type kept struct {
	bindings, bans, calls, drains sbc.State
	names                         [16]byte
}

// openKept opens what a state directory keeps. The gate closes it.
func openKept(dir string) (k kept, err error) {
	if k.bindings, k.names, err = sbc.OpenState(dir); err != nil {
		return k, err
	}
	if k.bans, err = sbc.OpenBans(dir); err != nil {
		return k, errors.Join(err, k.bindings.Close())
	}
	if k.calls, err = sbc.OpenCalls(dir); err != nil {
		return k, errors.Join(err, k.bindings.Close(), k.bans.Close())
	}
	if k.drains, err = sbc.OpenDrains(dir); err != nil {
		return k, errors.Join(err, k.bindings.Close(), k.bans.Close(), k.calls.Close())
	}
	return k, nil
}
