//go:build linux

package steer

import (
	"errors"
	"testing"

	"sallyport/media"
	"sallyport/media/rig"
)

func TestSuite(t *testing.T) {
	need(t)
	rig.Suite(t, "steer", 28000, func(o Options) rig.Backend { return New(o) })
}

// An address of another machine is nothing that another choice of back end would cure.
func TestOpenErrors(t *testing.T) {
	need(t)
	if _, err := media.New(rig.Config(23200, "192.0.2.1"), New(Options{}), 1); err == nil || errors.Is(err, ErrUnavailable) {
		t.Error(err)
	}
}

// Starts and ends leave no program attached.
func TestStartAndStopLeaveNothing(t *testing.T) {
	need(t)
	first, err := attached()
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		p, err := media.New(rig.Config(23800, rig.Own(5), rig.Own(8)), New(Options{}), 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	rig.Eventually(t, "programs are left", func() bool {
		now, err := attached()
		return err == nil && len(now) <= len(first)
	})
}
