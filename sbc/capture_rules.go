package sbc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.uber.org/zap"

	"sallyport/media"
	"sallyport/policy"
	"sallyport/sbc/api"
	"sallyport/sbc/config"
	"sallyport/sbc/trace"
)

// What message rules with capture: true match is captured into files for as long as there is such a rule. The capture follows
// the calls that come of it, as any capture of a call does.

// ruled is a capture's rules, and what they have matched lately.
type ruled struct {
	paths    map[string]bool
	settings config.Captures
	recent   [2]map[string]struct{} // Call-IDs: the younger, the older
}

// matchesMost bounds the Call-IDs of one of the two generations that are kept.
const matchesMost = 2048

// rulesName begins the names of the files.
const rulesName = "rules-"

// tune gives captures the rules of a configuration: nothing changes if they are the same ones.
func (cs *captures) tune(snap *config.Snapshot) {
	paths := map[string]bool{}
	for i := range snap.Policy.Messages {
		if snap.Policy.Messages[i].Capture {
			paths[fmt.Sprintf("policy.message_rules[%d]", i)] = true
		}
	}
	cs.mu.Lock()
	before := cs.byRules
	if before != nil && before.what.rules.settings == snap.Policy.Captures && len(paths) > 0 {
		before.mu.Lock()
		before.what.rules.paths = paths
		before.mu.Unlock()
		cs.mu.Unlock()
		return
	}
	cs.byRules = nil
	cs.mu.Unlock()
	if before != nil {
		before.finish("the configuration has changed")
	}
	if len(paths) == 0 {
		return
	}
	q := api.CaptureRequest{Subject: "capture: true", Media: snap.Policy.Captures.Media, UID: os.Geteuid()}
	c := newCapture(&q, subject{kind: "message rules with", rules: &ruled{paths: paths, settings: snap.Policy.Captures, recent: [2]map[string]struct{}{{}, {}}}}, cs.sbc.now())
	cs.mu.Lock()
	cs.byRules = c
	list := append(slices.Clone(cs.all()), c)
	cs.running.Store(&list)
	cs.mu.Unlock()
	cs.sbc.log.Info("messages that rules with capture: true match are written to " + snap.Policy.Captures.Directory)
	cs.keeping.Go(func() {
		defer cs.end(c)
		c.keep(&captureFiles{Captures: snap.Policy.Captures, now: cs.sbc.now, say: func(err error) {
			cs.sbc.log.Warn("captures of message rules are lost", zap.Error(err))
		}})
	})
}

// matched reports whether a rule of a capture has matched a message, and takes note of its Call-ID. The capture's lock is held.
func (r *ruled) matched(rules *policy.Rules, v *policy.Verdict, callID string) (path string, ok bool) {
	for _, n := range [...]int32{v.Rule, v.Alarm, v.Shadow} {
		info, known := rules.Rule(n)
		if !known || !r.paths[info.Path] {
			continue
		}
		if callID != "" {
			if len(r.recent[0]) >= matchesMost {
				r.recent[0], r.recent[1] = map[string]struct{}{}, r.recent[0]
			}
			r.recent[0][callID] = struct{}{}
		}
		return info.Path, true
	}
	return "", false
}

// lately reports whether a Call-ID is one of those. The capture's lock is held.
func (r *ruled) lately(callID string) bool {
	_, young := r.recent[0][callID]
	_, old := r.recent[1][callID]
	return young || old
}

// keep writes what is queued into files, until the capture ends.
func (c *capture) keep(files *captureFiles) {
	for over := false; !over; {
		select {
		case <-c.queue.filled:
		case <-c.ended:
			over = true
		}
		for _, p := range c.queue.take() {
			c.prepare(&p)
			if !files.write(&p) {
				c.unkept.Add(1)
			}
		}
		files.flush()
	}
	files.close()
}

// captureFiles are files of bounded size and number.
type captureFiles struct {
	config.Captures
	now  func() time.Time
	say  func(error)
	file *os.File // nil: none is open
	out  *trace.File
	size int64
	wait time.Time // none is opened before
}

// filesWait is how long a directory that cannot be written to is left alone.
const filesWait = time.Minute

// write adds a packet; it reports false if there is no file for it.
func (f *captureFiles) write(p *trace.Packet) bool {
	size := captureSize(p)
	if f.file != nil && f.size+size > f.MaxSize {
		f.close()
	}
	if f.file == nil {
		if f.now().Before(f.wait) {
			return false
		}
		if err := f.open(); err != nil {
			return f.fail(err)
		}
	}
	f.size += size
	if err := f.out.Write(p); err != nil {
		return f.fail(err)
	}
	return true
}

// fail gives up for a while.
func (f *captureFiles) fail(err error) bool {
	f.say(fmt.Errorf("policy.capture.directory: %w", err))
	f.wait = f.now().Add(filesWait)
	if f.file != nil {
		_ = f.file.Close() // it is broken already
		f.file = nil
	}
	return false
}

// open begins a file and removes the oldest ones. The directory is its owner's alone: what people say is in it.
func (f *captureFiles) open() error {
	if err := os.MkdirAll(f.Directory, 0o700); err != nil {
		return err
	}
	if err := f.thin(f.Files - 1); err != nil {
		return err
	}
	name := filepath.Join(f.Directory, rulesName+f.now().UTC().Format("20060102-150405.000000")+".pcapng")
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	f.file, f.size = file, captureFileHead
	f.out = trace.NewFile(file, captureProgram, "what message rules with capture: true have matched; IP and UDP headers are made up, secrets in SIP are overwritten")
	return nil
}

// thin removes all files but the youngest.
func (f *captureFiles) thin(left int) error {
	list, err := filepath.Glob(filepath.Join(f.Directory, rulesName+"*.pcapng"))
	if err != nil {
		return err
	}
	slices.Sort(list) // by their time
	for _, name := range list[:max(0, len(list)-left)] {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}

func (f *captureFiles) flush() {
	if f.file == nil {
		return
	}
	if err := f.out.Flush(); err != nil {
		f.fail(err)
	}
}

func (f *captureFiles) close() {
	if f.file == nil {
		return
	}
	if err := errors.Join(f.out.End(0), f.file.Close()); err != nil {
		f.say(err)
	}
	f.file = nil
}

// formOf is the form in which a capture wants media.
func formOf(wanted, clear bool) media.Tap {
	switch {
	case wanted && clear:
		return media.TapClear
	case wanted:
		return media.TapWire
	}
	return 0
}
