package sbc

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"sallyport/media"
	"sallyport/sbc/call"
	"sallyport/sbc/cdr"
	"sallyport/sbc/store"
	"sallyport/sbc/tu"
)

// OpenCalls opens the journal of open calls that a directory keeps.
func OpenCalls(dir string) (State, error) {
	s, err := store.Open(filepath.Join(dir, "calls.db"), "calls that a crash ended have no record then")
	if err != nil {
		return nil, err
	}
	return s, nil
}

// openCalls is the journal of open calls: what the record of each would say, so that a crash takes none away. A call is in it
// from the moment it has media ports, that is before anybody is asked to answer, until its record is in a file.
//
// The core only notes which calls have changed. A goroutine looks at those every journalEvery and puts them down. So a crash
// loses the records of calls that began within that time, and of one that was answered within it the time of the answer. A
// call that begins and ends between two looks costs nothing.
//
// The end of a call has two steps: its whole record takes the place of the open one, and once the record is in a file the
// journal forgets it. A crash between the two finds both; the file decides then (cdr.Find).
type openCalls struct {
	*SBC
	kept *journal // nil: nothing outlives the program

	followed map[tu.UserID]*openCall // of the core's turn
	changed  map[tu.UserID]*openCall // of those, since the last look

	mu      sync.Mutex
	pending map[string]*openEntry // by call; nil: to be forgotten
	down    map[string]bool       // calls that the state has, or may have
	ended   map[string]bool       // of both, those whose whole record waits for a file
	beat    time.Time             // when the state was last told that this program lives
	lost    lostCalls             // what the run before has left
}

// The pace and the bounds of the journal.
const (
	journalEvery = 250 * time.Millisecond
	lookMost     = 256             // calls that the core tells of in one turn
	beatEvery    = 5 * time.Second // without a beat a crash makes calls seem shorter
	endedMost    = 16384           // whole records that wait, twice what the writer of records keeps; the oldest are no better
)

// openEntry is what the journal has of a call.
type openEntry struct {
	CDR     tu.CDR     `json:"cdr"`
	Streams []media.ID `json:"streams,omitempty"`
	Ended   bool       `json:"ended,omitempty"` // the record is whole and waits for a file
	// Of a call that signalling has lost: when it was last known to live, and the last media since.
	Lost time.Time `json:"lost,omitzero"`
	Seen time.Time `json:"seen,omitzero"`
	Told bool      `json:"told,omitempty"` // CDR.Media has figures
}

// Keys of the state. A call has its name behind the prefix.
const (
	callPrefix = "call/"
	beatKey    = "alive"
)

// openCall is a call that the journal follows. It stands between the core and the call and hears what both say.
type openCall struct {
	*call.Call
	id       tu.UserID
	journal  *openCalls
	ringing  time.Time
	answered time.Time
	attempts int
}

// follow makes the user of a call; it runs in the core's turn.
func (o *openCalls) follow(id tu.UserID, c *call.Call) tu.User {
	if o.kept == nil {
		return c
	}
	followed := &openCall{Call: c, id: id, journal: o}
	o.followed[id] = followed
	return followed
}

// leave hears that a user is gone; it runs in the core's turn.
func (o *openCalls) leave(id tu.UserID) {
	delete(o.followed, id)
	delete(o.changed, id)
}

// Step implements tu.User.
func (c *openCall) Step(now time.Time, ev tu.Event, do []tu.Action) []tu.Action {
	before := len(do)
	do = c.Call.Step(now, ev, do)
	changed, begins := false, c.answered.IsZero() // later INVITEs that open a dialog are those of transfers
	if a, ok := ev.(tu.Answered); ok && begins && c.ringing.IsZero() && c.attempts > 0 && a.Msg.Method == "INVITE" && a.Msg.Status >= 180 && a.Msg.Status < 200 {
		c.ringing, changed = now, true
	}
	for _, a := range do[before:] {
		switch a := a.(type) {
		case tu.Send:
			if begins && a.Msg.Method == "INVITE" && a.Msg.To.Tag == "" {
				c.attempts++
				changed = true
			}
		case tu.Point:
			changed = true
		}
	}
	if at := c.Answered(); !at.Equal(c.answered) {
		c.answered, changed = at, true
	}
	if changed {
		c.journal.touch(c.id)
	}
	return do
}

// touch notes that a call is another one than the journal knows. It runs in the core's turn.
func (o *openCalls) touch(id tu.UserID) {
	if c := o.followed[id]; c != nil {
		o.changed[id] = c
	}
}

// record is what the call's record would say now.
func (c *openCall) record() tu.CDR {
	v := c.View()
	r := tu.CDR{
		Call: v.ID, Correlation: v.Correlation, Direction: v.Direction, Trunk: v.Trunk, Node: v.Node, AoR: v.AoR,
		From: v.From, To: v.To, Start: v.Start, Ringing: c.ringing, Answer: v.Answer, Attempts: c.attempts,
		Transfers: v.Transfers,
	}
	c.Way(&r)
	for i, at := range []*string{&r.Source, &r.Destination} {
		if i < len(v.Legs) {
			*at, r.CallIDs[i] = v.Legs[i].Remote, v.Legs[i].CallID
		}
	}
	if !v.Answer.IsZero() { // before, there is nothing that both sides have agreed on
		r.Media = c.Carries()
	}
	return r
}

// look takes what has changed, so much at a time that the core is not held up, and reports whether there is more. It runs in
// the core's turn, so that the end of a call that comes after it is noted after it.
func (o *openCalls) look() (more bool) {
	if len(o.changed) == 0 {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	n := 0
	for id, c := range o.changed {
		if n++; n > lookMost {
			return true
		}
		delete(o.changed, id)
		if streams := o.core.Streams(id); len(streams) > 0 { // it has no media yet, or none any more
			e := &openEntry{CDR: c.record(), Streams: streams}
			delete(o.ended, e.CDR.Call) // the retry of a challenged call has its name
			o.put(e.CDR.Call, e)
		}
	}
	return false
}

// put notes the newest state of a call. The caller holds mu.
func (o *openCalls) put(name string, e *openEntry) {
	if o.pending == nil {
		o.pending = map[string]*openEntry{}
	}
	o.pending[name] = e
}

// hold notes that a call has ended and what its record says. It runs in the core's turn, before the record is written. A
// call that never had media is not in the journal and does not come into it.
func (o *openCalls) hold(r tu.CDR) {
	if o.kept == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, waits := o.pending[r.Call]; !waits && !o.down[r.Call] {
		return
	}
	if len(o.ended) >= endedMost { // the disk of the records has failed for long, and records are being lost and counted
		o.forget(r.Call)
		return
	}
	o.end(r)
}

// end puts a whole record in the place of an open one. The caller holds mu.
func (o *openCalls) end(r tu.CDR) {
	o.ended[r.Call] = true
	o.put(r.Call, &openEntry{CDR: r, Ended: true})
}

// forget takes a call out of the journal. The caller holds mu.
func (o *openCalls) forget(name string) {
	delete(o.pending, name)
	delete(o.ended, name)
	if o.down[name] {
		o.put(name, nil)
	}
}

// written hears that records are in a file.
func (o *openCalls) written(list []tu.CDR) {
	if o.kept == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range list {
		if o.ended[list[i].Call] {
			o.forget(list[i].Call)
		}
	}
}

// run follows open calls, and ends those of before, until the context ends.
func (o *openCalls) run(ctx context.Context) {
	o.compare()
	t := time.NewTicker(journalEvery)
	defer t.Stop()
	for {
		o.settle()
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		for more := true; more; {
			more = false
			_ = o.core.Do(ctx, func(time.Time) { more = o.look() }) // a core that is full is asked again
		}
		o.flush()
	}
}

// flush puts down what is new.
func (o *openCalls) flush() {
	now := o.now()
	if now.Sub(o.beat) >= beatEvery { // only flush writes it
		o.watchOrphans()
	}
	o.mu.Lock()
	batch := o.pending
	o.pending = nil
	for name, e := range batch {
		if e != nil {
			o.down[name] = true
		} else {
			delete(o.down, name)
		}
	}
	beat := len(batch) > 0 || len(o.down) > 0 && now.Sub(o.beat) >= beatEvery
	if beat {
		o.beat = now
	}
	o.mu.Unlock()
	for name, e := range batch {
		o.kept.put(callPrefix+name, e.encode(), true)
	}
	if beat {
		text, err := now.MarshalText()
		if err == nil { // of the years that have four digits
			o.kept.put(beatKey, text, true)
		}
	}
	o.kept.flush()
}

// close puts down what the last records have changed. Nothing else runs any more.
func (o *openCalls) close() error {
	if o.kept == nil {
		return nil
	}
	o.flush()
	return o.opt.Calls.Close()
}

// encode is the value of an entry; that of none is nil.
func (e *openEntry) encode() []byte {
	if e == nil {
		return nil
	}
	out := *e
	out.CDR = cdr.Clean(e.CDR) // a peer chooses how long its texts are
	b, err := json.Marshal(&out)
	if err != nil {
		return nil // a plain value: it cannot fail
	}
	return b
}

// load brings back what the run before has left, once the relay is open.
func (o *openCalls) load() error {
	if o.opt.Calls == nil {
		o.adopt(o.now())
		return nil
	}
	var alive time.Time
	o.followed, o.changed = map[tu.UserID]*openCall{}, map[tu.UserID]*openCall{}
	o.down, o.ended, o.lost.calls = map[string]bool{}, map[string]bool{}, map[string]*lostCall{}
	unread := map[string][]byte{}
	err := o.opt.Calls.Load(func(key string, value []byte) {
		name, isCall := strings.CutPrefix(key, callPrefix)
		var e openEntry
		switch {
		case key == beatKey:
			_ = alive.UnmarshalText(value) // zero then: calls end where they are known last
		case isCall && json.Unmarshal(value, &e) == nil && e.CDR.Call == name:
			o.down[name] = true
			o.lost.calls[name] = &lostCall{openEntry: e}
		default:
			unread[key] = nil
		}
	})
	if err != nil {
		return fmt.Errorf("open calls: %w", err)
	}
	if len(unread) > 0 {
		o.log.Warn(fmt.Sprintf("%d entries of the journal of open calls cannot be read and are left out", len(unread)))
	}
	for name, l := range o.lost.calls {
		if !l.Ended && l.Lost.IsZero() { // and if this run crashes, too, it stays so
			l.Lost = alive
			o.putLost(name, l)
		}
	}
	o.adopt(o.now())
	o.kept = newJournal(o.opt.Calls, unread, endedMost, func(err error) {
		if err != nil {
			o.log.Error("open calls cannot be kept: after a crash they have no record", zap.Error(err))
		} else {
			o.log.Info("open calls are kept again")
		}
	})
	return nil
}
