package sbc

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"sallyport/media"
	"sallyport/media/epoll"
	"sallyport/media/process"
	"sallyport/media/steer"
)

// carrier is one of the back ends: the one that is asked for, else the best that this machine allows.
type carrier struct {
	process.Carrier                   // the one it became; nil before Open
	preferred       media.Choice      // where signalling leaves it open
	board           process.MakeBoard // nil: the back end's own
	kinds           kinds
	say             func(string)
	why             string // it is not steer
}

// kinds are what a carrier may become.
type kinds struct {
	probe        func(addresses ...netip.Addr) error
	steer, epoll func(process.MakeBoard) process.Carrier
}

// kindsOf are the real ones; alone says that the process does nothing but media.
func kindsOf(alone bool) kinds {
	return kinds{
		probe: steer.Probe,
		steer: func(b process.MakeBoard) process.Carrier { return steer.New(steer.Options{Process: alone, Board: b}) },
		epoll: func(b process.MakeBoard) process.Carrier { return epoll.New(epoll.Options{Process: alone, Board: b}) },
	}
}

// once lays one board, whoever asks: a back end that was tried and is none leaves it to the next one. nil stays nil.
func once(lay process.MakeBoard) process.MakeBoard {
	if lay == nil {
		return nil
	}
	var laid *media.Board
	return func(layout media.Layout, base time.Time) (b *media.Board, err error) {
		if laid == nil {
			laid, err = lay(layout, base)
		}
		return laid, err
	}
}

// byChoice is why it is not steer where the configuration says so.
const byChoice = "media.backend is epoll"

// errSteer says that steering is wanted and not to be had.
var errSteer = errors.New("the back end steer is asked for and not possible")

// Open implements media.Backend.
func (c *carrier) Open(layout media.Layout, hears media.Listener) (*media.Board, error) {
	wanted, by := layout.Choice, byChoice
	if wanted == media.Auto {
		wanted, by = c.preferred, "the media process was started with --backend epoll"
	}
	if wanted == media.Epoll {
		c.why = by
		return c.become(c.kinds.epoll(c.board), layout, hears)
	}
	board, err := c.steered(layout, hears)
	switch {
	case !errors.Is(err, steer.ErrUnavailable):
		return board, err
	case wanted == media.Steer:
		return nil, fmt.Errorf("%w: %s; change that, or write media.backend: auto", errSteer, steer.Reason(err)) // one line: it may cross a border
	}
	c.why = steer.Reason(err)
	c.say("back end epoll, not steer: " + c.why)
	if board, err = c.become(c.kinds.epoll(c.board), layout, hears); err != nil {
		// What epoll lacks, such as open files, steer would not need.
		return nil, fmt.Errorf("%w; and not steer: %s", err, c.why)
	}
	return board, nil
}

// steered opens the range by steering, if the machine allows it.
func (c *carrier) steered(layout media.Layout, hears media.Listener) (*media.Board, error) {
	if err := steer.Families(layout.Others[:]...); err != nil {
		return nil, err
	}
	if err := c.kinds.probe(layout.Addresses[:]...); err != nil {
		return nil, err
	}
	return c.become(c.kinds.steer(c.board), layout, hears)
}

func (c *carrier) become(b process.Carrier, layout media.Layout, hears media.Listener) (*media.Board, error) {
	board, err := b.Open(layout, hears)
	if err == nil {
		c.Carrier = b
	}
	return board, err
}

// Close implements media.Backend.
func (c *carrier) Close() error {
	if c.Carrier == nil {
		return nil
	}
	return c.Carrier.Close()
}

// What stands around the reason why a back end is not steer.
const (
	notSteer = " (not steer: "
	endMark  = ")"
)

// String is the name of what it became, and why it is not steer: signalling reads it with described.
func (c *carrier) String() string {
	switch {
	case c.Carrier == nil:
		return "none"
	case c.why == "":
		return c.Carrier.String()
	}
	return c.Carrier.String() + notSteer + c.why + endMark
}

// described reads what a carrier says of itself; the way here may have cut it short.
func described(text string) (name, why string) {
	name, why, more := strings.Cut(text, " ")
	if !more {
		return name, ""
	}
	why, whole := strings.CutSuffix(strings.TrimPrefix(" "+why, notSteer), endMark)
	if !whole {
		why = "the log of the media process says why"
	}
	return name, why
}
