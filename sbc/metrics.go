package sbc

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"time"

	"sallyport/media"
	"sallyport/policy"
	"sallyport/sbc/metrics"
	"sallyport/sbc/reason"
)

// figures answer a monitoring system. A scrape takes one turn of the core; everything else is read beside it.
type figures struct{ *SBC }

// errBusy says that the core gave no answer in time.
var errBusy = errors.New("no answer within a second")

// Alive asks the core for nothing but an answer.
func (f figures) Alive(ctx context.Context) error {
	if f.core.Do(ctx, func(time.Time) {}) != nil {
		return errBusy
	}
	return nil
}

// Ready says whether calls should be sent here.
func (f figures) Ready(ctx context.Context) []metrics.Check {
	check := func(name string, ok bool, why string) metrics.Check {
		if ok {
			why = ""
		}
		return metrics.Check{Name: name, OK: ok, Why: why}
	}
	draining, noNode := false, ""
	err := f.core.Do(ctx, func(now time.Time) {
		draining, noNode = f.assembly.draining, f.assembly.noNode(now)
	})
	out := []metrics.Check{
		check("core", err == nil, errBusy.Error()),
		check("configuration", f.snap.Load() != nil, "none is in force"),
		check("sockets", f.shut() == "", "not open: "+f.shut()),
		check("media", f.carriedBy().Backend != "", "the media process is lost; calls have no audio until it is back"),
	}
	if err != nil {
		return out // of the rest nothing is known
	}
	return append(out,
		check("pbx", noNode == "", noNode),
		check("accepting", !draining, "no new calls are taken: the program drains"))
}

// shut names the listeners of the configuration that are not open.
func (f figures) shut() string {
	open := map[uint16]bool{}
	for _, c := range f.sockets.Counters() {
		open[c.Interface.ID] = true
	}
	var missing []string
	for i := range f.snap.Load().Interfaces {
		if face := &f.snap.Load().Interfaces[i]; !open[face.ID] {
			missing = append(missing, face.String())
		}
	}
	return strings.Join(missing, ", ")
}

// Collect fills a scrape.
func (f figures) Collect(ctx context.Context, s *metrics.Scrape) {
	s.Add(metrics.Build, 1, f.opt.Version, runtime.Version())
	var peers peerFigures
	err := f.core.Do(ctx, func(time.Time) {
		f.assembly.figures(s)
		peers = f.assembly.peers()
	})
	if s.Flag(metrics.CoreUp, err == nil); err == nil {
		peers.tell(s)
		g := f.Gauges()
		for _, l := range append((control{SBC: f.SBC}).limits(&g), f.nameLimits()...) {
			table(s, l.Name, l.Level, l.High, l.Cap)
		}
	}
	f.tally.Collect(s)
	f.ofCore(s)
	f.ofGuard(s)
	f.ofMedia(s)
	f.ofSockets(s)
	f.ofFiles(s)
}

// figures are those that only the core knows. They run in its turn, so they copy numbers, look through nothing
// that grows with the phones, and ask nobody.
func (a *assembly) figures(s *metrics.Scrape) {
	s.Add(metrics.Calls, float64(len(a.calls)))
	s.Add(metrics.CallsHighest, float64(a.high))
	s.Add(metrics.CallsStarted, float64(a.total))
	s.Flag(metrics.Draining, a.draining)
	s.Add(metrics.Subscriptions, float64(len(a.phones.watching)))
	a.phoneFigures(s)
	for _, l := range a.tollLevels() {
		table(s, l.Name, l.Level, l.High, l.Cap)
	}
}

// phoneFigures are those of registrations.
func (a *assembly) phoneFigures(s *metrics.Scrape) {
	g := a.phones.gauge()
	s.Add(metrics.Registrations, float64(g.Now))
	s.Add(metrics.RegistrationsHighest, float64(g.High))
	s.Add(metrics.RegistrationsLost, float64(g.Lost))
	n := a.phones.book.Figures()
	s.Add(metrics.Registers, float64(n.Local), "here")
	s.Add(metrics.Registers, float64(n.Passed), "passed")
}

// table is a bounded table's level.
func table(s *metrics.Scrape, name string, level, high, most int) {
	name = strings.NewReplacer(" ", "_", "'", "", "-", "_").Replace(strings.ToLower(name))
	s.Add(metrics.TableLevel, float64(level), name)
	s.Add(metrics.TableHighest, float64(high), name)
	s.Add(metrics.TableLimit, float64(most), name)
}

// ofCore are the gauges that the core publishes.
func (f figures) ofCore(s *metrics.Scrape) {
	g := f.core.Gauges()
	s.Add(metrics.CallsLimit, float64(f.snap.Load().Calls))
	s.Add(metrics.CoreBusy, float64(g.Busy.Load())/1000)
	s.Add(metrics.CoreInboxHighest, float64(g.InboxHigh.Load()))
	s.Add(metrics.InboxDropped, float64(g.InboxDropped.Load()))
	s.Add(metrics.Overload, float64(g.Overload.Load()))
	for i, r := range reason.All {
		if n := g.Refused[i].Load(); n > 0 {
			s.Add(metrics.Refused, float64(n), string(r))
		}
	}
	s.Add(metrics.Panics, float64(g.Panics.Load()), "core")
	s.Add(metrics.Leaks, float64(g.Leaks.Load()), "repaired")
	s.Add(metrics.Leaks, float64(g.LeaksFatal.Load()), "refused")
	s.Add(metrics.Retained, float64(g.RetainedBytes.Load()))
	s.Add(metrics.Transactions, float64(g.ServerTransactions.Load()), "server")
	s.Add(metrics.Transactions, float64(g.ClientTransact.Load()), "client")
	s.Add(metrics.Dialogs, float64(g.Dialogs.Load()))
}

// ofGuard are verdicts, rules and bans.
func (f figures) ofGuard(s *metrics.Scrape) {
	for n := range f.guard.Counters().Each {
		if n.Action == policy.Ignore {
			s.Add(metrics.Ignored, float64(n.Count), n.Side.String(), n.Realm.String())
			continue
		}
		s.Add(metrics.Verdicts, float64(n.Count), n.Side.String(), n.Realm.String(), n.Action.String(), string(n.Reason))
	}
	s.Add(metrics.Shed, float64(f.guard.Counters().Shed()))
	for _, h := range f.guard.RuleHits() {
		s.Add(metrics.RuleHits, float64(h.Enforced), h.Rule.Path, h.Rule.Name, "enforced")
		s.Add(metrics.RuleHits, float64(h.Shadow), h.Rule.Path, h.Rule.Name, "shadow")
	}
	s.Add(metrics.Bans, float64(f.guard.Bans().Len()))
	b := f.guard.BanCounts()
	for _, n := range []struct {
		action string
		count  uint64
	}{{"banned", b.Bans}, {"shadowed", b.Shadowed}, {"blocked", b.Blocks}, {"slowed", b.Slowed}, {"alarm", b.Alarms}, {"refused", b.Refused}} {
		s.Add(metrics.BanActions, float64(n.count), n.action)
	}
}

// ofMedia is the relay.
func (f figures) ofMedia(s *metrics.Scrape) {
	g, by := f.plane.Gauges(), f.carriedBy()
	s.Flag(metrics.MediaUp, by.Backend != "")
	if by.Backend != "" {
		s.Add(metrics.MediaInfo, 1, by.Backend)
	}
	s.Add(metrics.MediaPorts, float64(g.Reserved), "reserved")
	s.Add(metrics.MediaPorts, float64(max(0, g.Free-g.Resting)), "free")
	s.Add(metrics.MediaPorts, float64(g.Resting), "resting")
	s.Add(metrics.MediaHighest, float64(g.HighWater))
	s.Add(metrics.MediaMissing, float64(g.Missing))
	s.Add(metrics.MediaOrphans, float64(g.Orphans))
	s.Add(metrics.MediaLosses, float64(by.Process.Lost))
	for i, n := range g.Rejected {
		if r := media.Rejection(i); r != media.Accepted {
			s.Add(metrics.MediaRejected, float64(n), r.String())
		}
	}
	s.Add(metrics.MediaDelay, g.Delay.P50.Seconds(), "median")
	s.Add(metrics.MediaDelay, g.Delay.P99.Seconds(), "p99")
	s.Add(metrics.MediaDelay, g.Delay.Max.Seconds(), "highest")
	s.Add(metrics.MediaDelayMeas, float64(g.Delay.Samples))
}

// ofFiles is what the program keeps and reads: certificates, lists, records, the configuration.
func (f figures) ofFiles(s *metrics.Scrape) {
	f.certificateFigures(s)
	names := map[string]int{}
	for _, d := range f.nameData(f.snap.Load()) {
		switch {
		case d.Entries == 0:
			names["unresolved"]++
		case d.Error != "":
			names["stale"]++
		default:
			names["resolved"]++
		}
	}
	for _, state := range []string{"resolved", "stale", "unresolved"} {
		s.Add(metrics.DNSNames, float64(names[state]), state)
	}
	for _, d := range f.sources.list() {
		s.Add(metrics.DataEntries, float64(d.Entries), d.Kind, d.Name)
		s.Flag(metrics.DataFailing, d.Error != "", d.Kind, d.Name)
		s.Time(metrics.DataFetched, d.Fetched, d.Kind, d.Name)
	}
	r := &f.reloads
	s.Flag(metrics.ReloadOK, !r.bad.Load())
	s.Time(metrics.ReloadAt, time.UnixMilli(r.at.Load()))
	s.Add(metrics.Reloads, float64(r.done.Load()), "done")
	s.Add(metrics.Reloads, float64(r.failed.Load()), "failed")
	if f.files != nil {
		c := f.files.Counters()
		s.Add(metrics.CDRWritten, float64(c.Written))
		s.Add(metrics.CDRLost, float64(c.Lost))
		s.Add(metrics.CDRWaiting, float64(c.Waiting))
		s.Flag(metrics.CDRFailing, c.Failing)
	}
	if f.captures != nil {
		s.Add(metrics.CapturesLost, float64(f.captures.Lost()))
	}
}
