package policy

import (
	"fmt"

	"github.com/gaissmai/bart"
)

// feedRule is one feed. Its entries are shared with whoever fetched them and with other rule sets.
type feedRule struct {
	entries *bart.Lite
	rule    int32
	realms  [2]bool
	shadow  bool
}

// compileFeeds takes the feeds in the order of the file. One whose entries have not come yet refuses nobody.
func (r *Rules) compileFeeds(c *Config) {
	for i := range c.Feeds {
		e := &c.Feeds[i]
		f := feedRule{entries: r.data.Feeds[e.Name], shadow: e.Shadow}
		f.rule = r.addInfo(RuleInfo{Kind: "feed", Path: fmt.Sprintf("policy.feeds[%d]", i), Name: e.Name, Comment: e.Comment,
			Shadow: e.Shadow}, e.Name)
		for _, realm := range realmsOf(e.Realms) {
			f.realms[realm] = true
		}
		if f.entries != nil {
			r.feeds = append(r.feeds, f)
		}
	}
}

// fed is the part of step 3 that lists kept by others say. They bind strangers only: whoever is known here is known better
// than elsewhere, and a list that errs must not end a call.
func (r *Rules) fed(s *Subject, v *Verdict) bool {
	if s.Kind() != Stranger {
		return false
	}
	for i := range r.feeds {
		f := &r.feeds[i]
		switch {
		case !f.realms[s.Realm] || !f.entries.Contains(s.Source.Addr()):
		case f.shadow:
			v.wouldRefuse(f.rule)
		default:
			shadow := v.Shadow
			*v = verdict(Drop, 0, causeBlack)
			v.Rule, v.Shadow = f.rule, shadow
			return true
		}
	}
	return false
}

// wouldRefuse notes a shadow rule. The first one counts: had it been in force, the others would not have been asked.
func (v *Verdict) wouldRefuse(rule int32) {
	if v.Shadow < 0 {
		v.Shadow = rule
	}
}

// alarm notes a rule that only raises an alarm, the first one.
func (v *Verdict) alarm(rule int32) {
	if v.Alarm < 0 {
		v.Alarm = rule
	}
}
