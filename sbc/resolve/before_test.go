package resolve

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat"
)

// The zone of a provider: two hosts by SRV, and the web server of its domain.
var (
	srvZone = []string{
		"_sip._udp.sip.example. 30 IN SRV 10 3 5060 a.sip.example.", "_sip._udp.sip.example. 30 IN SRV 20 1 5070 b.sip.example.",
		"a.sip.example. 30 IN A 192.0.2.1", "a.sip.example. 30 IN A 192.0.2.3", "b.sip.example. 30 IN A 192.0.2.2", "sip.example. 30 IN A 192.0.2.80",
	}
	naptrZone = append([]string{
		`sip.example. 30 IN NAPTR 10 1 "s" "SIPS+D2T" "" _sips._tcp.sip.example.`, `sip.example. 30 IN NAPTR 10 2 "s" "SIP+D2U" "" _sip._udp.sip.example.`,
		"_sips._tcp.sip.example. 30 IN SRV 1 1 5061 a.sip.example.",
	}, srvZone...)
	bySRV   = Want{Target: Target{Host: "sip.example", V4: true, V6: true}, Role: "peer"}
	byNAPTR = Want{Target: Target{Host: "sip.example", Any: true, Speaks: all, V4: true, V6: true}, Role: "peer"}
)

// without is a zone without the records that hold one of some words.
func without(zone []string, words ...string) []string {
	return slices.DeleteFunc(slices.Clone(zone), func(s string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(s, w) })
	})
}

// followed is a watcher that has followed a want once and goes on, and what the want led to.
func followed(t *testing.T, want Want, records ...string) (*watching, string) {
	t.Helper()
	w := watch(t, records...)
	w.Ask(t.Context(), []Want{want})
	w.Set([]Want{want})
	w.run(t)
	return w, show(Answer{Endpoints: w.State(want).Endpoints})
}

// TestPartsThatFailAreAsTheyWere: whatever part of an answer is missing, what it said before stays, and the rest follows.
func TestPartsThatFailAreAsTheyWere(t *testing.T) {
	six := append(slices.Clone(srvZone), "a.sip.example. 30 IN AAAA 2001:db8::1")
	for _, tt := range []struct {
		name  string
		want  Want
		zone  []string
		after []string // the zone later on; nil: as before
		fails string   // a name that cannot be asked for
		leads string   // "": as before
		err   string
	}{
		{"no SRV records any more", bySRV, srvZone, without(srvZone, "SRV"), "", "", "_sip._udp.sip.example does not exist, where there was more before"},
		{"none, but for a dot elsewhere", bySRV, srvZone, append(without(srvZone, "SRV"), "_sip._tcp.sip.example. 30 IN SRV 0 0 0 ."), "", "", "_sip._udp.sip.example"},
		{"SRV cannot be asked for", bySRV, srvZone, nil, "_sip._udp.sip.example", "", "SERVFAIL"},
		{"a host cannot be asked for", bySRV, srvZone, nil, "a.sip.example", "", "SERVFAIL"},
		{"a host has no address any more", bySRV, srvZone, without(srvZone, "192.0.2.1", "192.0.2.3"), "", "", "a.sip.example does not exist"},
		{"the other host moves meanwhile", bySRV, srvZone,
			append(without(srvZone, "192.0.2.1", "192.0.2.3", "192.0.2.2"), "b.sip.example. 30 IN A 192.0.2.9"), "",
			"192.0.2.1:5060/udp 0.10*360, 192.0.2.3:5060/udp 0.10*360, 192.0.2.9:5070/udp 0.20*240", "a.sip.example does not exist"},
		{"a host leads inside", bySRV, srvZone, append(without(srvZone, "192.0.2.2"), "b.sip.example. 30 IN A 10.0.0.1"), "", "", "10.0.0.1 is ours"},
		{"the records follow though SRV is gone", bySRV, srvZone, append(without(srvZone, "SRV", "192.0.2.2"), "b.sip.example. 30 IN A 192.0.2.9"), "",
			"192.0.2.1:5060/udp 0.10*360, 192.0.2.3:5060/udp 0.10*360, 192.0.2.9:5070/udp 0.20*240", "where there was more before"},
		{"no NAPTR records any more", byNAPTR, naptrZone, without(naptrZone, "NAPTR"), "", "", "sip.example has no NAPTR record, where there was more before"},
		{"NAPTR records of nothing that we know", byNAPTR, naptrZone, append(without(naptrZone, "NAPTR"), `sip.example. 30 IN NAPTR 1 1 "u" "E2U+sip" "!^.*$!sip:x@y!" .`), "", "",
			"sip.example has no usable records, where there was more before"},
		{"NAPTR cannot be asked for", byNAPTR, naptrZone, nil, "sip.example", "", "SERVFAIL"},
		{"one service of two has no SRV records", byNAPTR, naptrZone, without(naptrZone, "IN SRV 1 1"), "", "", "_sips._tcp.sip.example does not exist, where"},
		{"everything is gone", byNAPTR, naptrZone, []string{}, "", "", "sip.example does not exist"},
		{"a family is gone and the other one is there", bySRV, six, without(six, "192.0.2.1", "192.0.2.3"), "",
			"[2001:db8::1]:5060/udp 0.10*720, 192.0.2.2:5070/udp 0.20*240", ""},
		{"a host is taken out of the records", bySRV, srvZone, without(srvZone, "SRV 20"), "", "192.0.2.1:5060/udp 0.10*360, 192.0.2.3:5060/udp 0.10*360", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tt.want.Refuse = func(a netip.AddrPort) string {
					if a.Addr().IsPrivate() && a.Addr().Is4() {
						return "is ours"
					}
					return ""
				}
				w, before := followed(t, tt.want, tt.zone...)
				at := w.State(tt.want).At
				if tt.after != nil {
					w.f.set(t, tt.after...)
				}
				if tt.fails != "" {
					w.f.fail(tt.fails, true)
				}
				time.Sleep(3 * time.Hour)
				s := w.State(tt.want)
				if tt.leads == "" {
					tt.leads = before
				}
				if got := show(Answer{Endpoints: s.Endpoints}); got != tt.leads {
					t.Errorf("leads to %s\nwant %s", got, tt.leads)
				}
				if text := fmt.Sprint(s.Err); (tt.err == "") != (s.Err == nil) || !strings.Contains(text, tt.err) {
					t.Errorf("error %v, want %q", s.Err, tt.err)
				}
				if old := s.At.Equal(at); old != (tt.err != "") {
					t.Errorf("said at %s, before at %s", s.At, at)
				}
				w.f.fail(tt.fails, false)
				w.f.set(t, append(without(tt.zone, "192.0.2.2"), "b.sip.example. 30 IN A 192.0.2.8")...)
				time.Sleep(retryMost + lookTime)
				if s := w.State(tt.want); s.Err != nil || !strings.Contains(s.addresses(), "192.0.2.8") || strings.Contains(s.addresses(), "192.0.2.2") {
					t.Errorf("afterwards %s, %v", s.addresses(), s.Err)
				}
			})
		})
	}
}

// TestALowerSourceIsBelievedInTheEnd: who has given up SRV records on purpose is followed after a day, and not before.
func TestALowerSourceIsBelievedInTheEnd(t *testing.T) {
	for _, tt := range []struct {
		name  string
		want  Want
		zone  []string
		gone  string
		leads string
		by    Source
	}{
		{"SRV", bySRV, srvZone, "SRV", "192.0.2.80:5060/udp 0.0*0", ByHost},
		{"NAPTR", byNAPTR, naptrZone, "NAPTR", "192.0.2.1:5060/udp 0.10*360, 192.0.2.3:5060/udp 0.10*360, 192.0.2.2:5070/udp 0.20*240", BySRV},
		{"both", byNAPTR, naptrZone, "SRV", "192.0.2.80:5060/udp 0.0*0", ByHost},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, before := followed(t, tt.want, tt.zone...)
				less := without(tt.zone, tt.gone)
				if tt.name == "both" {
					less = without(less, "NAPTR")
				}
				w.f.set(t, less...)
				time.Sleep(20 * time.Hour)
				w.f.set(t, tt.zone...) // a day is a day on end
				time.Sleep(2 * time.Minute)
				if s := w.State(tt.want); s.Err != nil {
					t.Errorf("error %v though all is there again", s.Err)
				}
				w.f.set(t, less...)
				time.Sleep(lowerAfter - time.Minute)
				if got := show(Answer{Endpoints: w.State(tt.want).Endpoints}); got != before {
					t.Errorf("leads to %s within the day", got)
				}
				time.Sleep(4 * time.Minute)
				s := w.State(tt.want)
				if got := show(Answer{Endpoints: s.Endpoints}); got != tt.leads || s.Err != nil || s.By != tt.by {
					t.Errorf("leads to %s by %d, %v, want %s", got, s.By, s.Err, tt.leads)
				}
				w.f.set(t, tt.zone...) // more is believed at once
				time.Sleep(2 * time.Minute)
				if got := show(Answer{Endpoints: w.State(tt.want).Endpoints}); got != before {
					t.Errorf("leads to %s with its records again", got)
				}
			})
		})
	}
}

// TestWhatIsRestoredIsCompleted: the run before knew a host that cannot be asked for now, and that there were SRV records.
func TestWhatIsRestoredIsCompleted(t *testing.T) {
	for _, tt := range []struct {
		name, fails string
		zone        []string
	}{
		{"a host cannot be asked for", "a.sip.example", srvZone},
		{"SRV is gone", "", without(srvZone, "SRV")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, before := followed(t, bySRV, srvZone...)
				kept := w.Kept()
				for key, k := range kept { // as a file that somebody has written in
					k.Endpoints = append(slices.Clone(k.Endpoints), Endpoint{Host: "b.sip.example"}, Endpoint{Address: netip.MustParseAddrPort("192.0.2.66:5060"), Transport: nat.UDP})
					kept[key] = k
				}
				again := watch(t, tt.zone...)
				again.f.fail(tt.fails, true)
				again.Restore(kept)
				again.Ask(t.Context(), []Want{bySRV})
				s := again.State(bySRV)
				if got := show(Answer{Endpoints: s.Endpoints}); got != before || s.Err == nil || s.By != BySRV {
					t.Errorf("leads to %s by %d, %v, want %s", got, s.By, s.Err, before)
				}
			})
		})
	}
}
