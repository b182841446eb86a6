package capture

import (
	"os"

	"go.uber.org/zap"

	"sallyport/policy"
	"sallyport/sbc/api"
)

// What message rules with capture: true match is captured into files for as long as there is such a rule. The capture follows
// the calls that come of it, as any capture of a call does.

// Rules are the message rules of a configuration that capture, and where what they match goes to.
type Rules struct {
	Paths  []string // in the configuration, as policy.RuleInfo has them; none: nothing is captured
	Config Config
}

// Config says how what message rules match is kept: policy.capture.
type Config struct {
	Directory string // made if it is missing, for its owner alone
	MaxSize   int64  // bytes of a file
	Files     int    // at most; the oldest is removed
	Media     bool   // of the calls that come of it, too
}

// ruled is a capture's rules, and what they have matched lately.
type ruled struct {
	paths    map[string]bool
	settings Config
	recent   [2]map[string]struct{} // Call-IDs: the younger, the older
}

// matchesMost bounds the Call-IDs of one of the two generations that are kept.
const matchesMost = 2048

func newRuled(r *Rules) *ruled {
	return &ruled{paths: pathsOf(r), settings: r.Config, recent: [2]map[string]struct{}{{}, {}}}
}

func pathsOf(r *Rules) map[string]bool {
	paths := make(map[string]bool, len(r.Paths))
	for _, path := range r.Paths {
		paths[path] = true
	}
	return paths
}

// Tune gives captures the rules of a configuration that is in force from now on. Files that are being written go on if they are
// to be kept as before.
func (s *Set) Tune(r Rules) {
	s.mu.Lock()
	before := s.byRules
	if before != nil && before.what.rules.settings == r.Config && len(r.Paths) > 0 {
		before.mu.Lock()
		before.what.rules.paths = pathsOf(&r)
		before.mu.Unlock()
		s.mu.Unlock()
		return
	}
	s.byRules = nil
	s.mu.Unlock()
	if before != nil {
		before.finish("the configuration has changed")
	}
	if len(r.Paths) == 0 {
		return
	}
	q := api.CaptureRequest{Subject: "capture: true", Media: r.Config.Media, UID: os.Geteuid()}
	c := newCapture(&q, subject{kind: "message rules with", rules: newRuled(&r)}, s.now())
	s.mu.Lock()
	s.byRules = c
	s.add(c)
	s.mu.Unlock()
	s.log.Info("messages that rules with capture: true match are written to " + r.Config.Directory)
	s.keeping.Go(func() {
		defer s.end(c)
		c.keep(&files{Config: r.Config, now: s.now, say: func(err error) {
			s.log.Warn("captures of message rules are lost", zap.Error(err))
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
func (c *capture) keep(f *files) {
	for over := false; !over; {
		select {
		case <-c.queue.filled:
		case <-c.ended:
			over = true
		}
		for _, p := range c.queue.take() {
			c.prepare(&p)
			if !f.write(&p) {
				c.unkept.Add(1)
			}
		}
		f.flush()
	}
	f.close()
}
