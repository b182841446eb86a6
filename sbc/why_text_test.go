package sbc

import (
	"strings"
	"testing"
	"time"

	"sallyport/sbc/api"
	"sallyport/sbc/config"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

func TestTheNumberThatIsMeant(t *testing.T) {
	for _, tt := range []struct {
		asked, has string
		same       bool
	}{
		{"4711", "4711", true}, {"anna", "anna", true}, {"+49 30 123456", "+4930123456", true}, {"030/12 34-56", "+4930123456", true},
		{"004930123456", "030123456", true}, {"123456", "+4930123456", true},
		{"3456", "+4930123456", false}, {"4711", "4712", false}, {"", "", false}, {"", "4711", false}, {"4711", "", false},
		{"204", "%3204", true}, {"%32%30%34", "204", true}, {"204", "204;isub=1:secret", true}, {"030 123456", "%2B4930123456", true}, {"an%6ea", "anna", true},
		{"204", "%3205", false}, {"%00", "%01", false},
		{"anna", "hanna", false}, {"0", "00", false}, {"+", "-", false}, {"12345x", "12345", false}, {"1234567", "7654321234567x", false},
	} {
		if sameNumber(tt.asked, tt.has) != tt.same || sameNumber(tt.has, tt.asked) != tt.same {
			t.Errorf("%q and %q: %v", tt.asked, tt.has, !tt.same)
		}
	}
}

// TestWhatKeepsAudioAway: who heard nothing is told what to look at; a call that was heard from both sides, or that nobody talked in, is
// not.
func TestWhatKeepsAudioAway(t *testing.T) {
	heard, silent := tu.LegStats{Packets: 90}, tu.LegStats{}
	elsewhere := tu.LegStats{Rejected: 90, Rejections: map[string]uint64{"source": 90}}
	junk := tu.LegStats{Rejected: 3, Rejections: map[string]uint64{"junk": 3}}
	for _, tt := range []struct {
		name            string
		trunk, aor      string
		outside, inside tu.LegStats
		duration        float64
		want            []string
	}{
		{"both heard", "itsp", "", heard, heard, 10, nil},
		{"nobody talked", "itsp", "", silent, silent, 0, nil},
		{"nothing from outside", "itsp", "", silent, heard, 10, []string{"are media.ports open for UDP in the firewall"}},
		{"a provider from elsewhere", "itsp", "", elsewhere, heard, 10, []string{"sbc capture 203.0.113.20 shows from where; add that to trunks[].media_sources of itsp"}},
		{"a phone from elsewhere", "", "201@example.com", elsewhere, heard, 10, []string{"sbc capture 201@example.com shows from where"}},
		{"junk from outside", "itsp", "", junk, heard, 10, []string{"refused (3 junk)"}},
		{"nothing from the PBX", "itsp", "", heard, silent, 10, []string{"can it reach inside.address"}},
		{"the PBX from elsewhere", "itsp", "", heard, elsewhere, 10, []string{"what came from the PBX was refused (90 source)"}},
		{"nothing at all", "itsp", "", silent, silent, 10, []string{"nothing at all came from outside", "nothing at all came from the PBX"}},
	} {
		r := tu.CDR{
			Call: "c", Direction: "inbound", Trunk: tt.trunk, AoR: tt.aor, Source: "203.0.113.20:5060", Destination: "10.0.0.10:5060", Duration: tt.duration,
			Media: []tu.StreamStats{{Outside: tt.outside, Inside: tt.inside}},
		}
		got := silentFixes(&r)
		if len(got) != len(tt.want) {
			t.Errorf("%s: %q", tt.name, got)
			continue
		}
		for i, want := range tt.want {
			if !strings.Contains(got[i], want) {
				t.Errorf("%s: %q, want %q", tt.name, got[i], want)
			}
		}
	}
	out := tu.CDR{Direction: "outbound", Trunk: "itsp", Source: "10.0.0.10:5060", Destination: "203.0.113.20:5060", To: "+49\x1b30"}
	if text := fixesOf(&out); text != "route   sbc route test +49?30 says why it goes there, by the rules in force now\n" {
		t.Errorf("%q", text)
	}
	if outsideOf(&out) != "203.0.113.20" || outsideOf(&tu.CDR{}) != "ADDRESS" {
		t.Error("the leg outside is not found")
	}
}

// TestTheTwoSidesOfACall are told together, and a line says on which side of a call nothing was heard.
func TestTheTwoSidesOfACall(t *testing.T) {
	at := time.Unix(1_000_000, 0)
	phone := tu.CDR{Call: "p1", Direction: "inbound", Start: at, End: at.Add(9 * time.Second), Duration: 5, Media: make([]tu.StreamStats, 2)}
	trunk := tu.CDR{Call: "t1", Correlation: "p1", Direction: "outbound", Start: at.Add(20 * time.Millisecond), End: at.Add(time.Hour)}
	apart := trunk
	apart.Correlation = ""
	later, other := apart, apart
	later.Start, later.End = at.Add(3*time.Second), at.Add(4*time.Second)
	other.Direction = "inbound"
	for name, tt := range map[string]struct {
		other tu.CDR
		want  bool
	}{
		"their media is joined": {trunk, true}, "their times join them": {apart, true}, "a later one": {later, false}, "another one that came in": {other, false},
	} {
		if together(&phone, &tt.other) != tt.want || together(&tt.other, &phone) != tt.want {
			t.Errorf("%s: not %v", name, tt.want)
		}
	}
	for _, tt := range []struct {
		outside, inside uint64
		want            string
	}{{0, 0, "nothing heard from either side"}, {7, 0, "nothing heard from the PBX"}, {0, 7, "nothing heard from outside"}, {7, 7, ""}} {
		phone.Media[0].Outside.Packets, phone.Media[0].Inside.Packets = tt.outside, tt.inside // the second was declined
		if got := silentSides(&phone); got != tt.want {
			t.Errorf("%d and %d packets: %q", tt.outside, tt.inside, got)
		}
	}
	if got := silentSides(&trunk); got != "" {
		t.Errorf("of a call that nobody answered: %q", got)
	}
}

// TestRecordsAreSafeToRead: what peers wrote moves no cursor.
func TestRecordsAreSafeToRead(t *testing.T) {
	r := tu.CDR{Call: "c1", Direction: "inbound", From: "a\x1b[2J", To: "b\u202e", Trunk: "itsp", Code: 486, Reason: reason.NoRoute, Attempts: 1, Start: time.Unix(0, 0)}
	for _, text := range []string{recordText(&r), callLine(&r)} {
		if strings.ContainsAny(text, "\x1b\u202e") || !strings.Contains(text, "a?[2J → b?") {
			t.Errorf("%q", text)
		}
	}
	if text := recordText(&r); !strings.Contains(text, "1 attempt,") {
		t.Errorf("%q", text)
	}
	for _, tt := range []struct {
		n    note
		want string
	}{
		{note{Method: "REGISTER", Code: 403}, "REGISTER 403"}, {note{Method: "REGISTER", Reason: reason.Stranger}, "REGISTER stranger"},
		{note{Method: "INVITE", Code: 503, Reason: reason.NoPBX}, "INVITE 503 no-pbx"}, {note{Method: "ACK"}, "ACK"},
	} {
		if got := tt.n.what(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

// TestWhatStandsOut of trunks and nodes.
func TestWhatStandsOut(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	down := api.Peer{Address: "203.0.113.20:5060", State: "down", Reason: "3 probes were not answered", Since: at}
	mute := api.Peer{Address: "10.0.0.10:5060", State: "unknown", Answer: "no answer"}
	for _, tt := range []struct {
		name string
		got  []api.Notice
		want []string
	}{
		{"up", ofPeer("PBX node ", &api.Peer{State: "up"}, nil, "sbc pbx"), nil},
		{"not asked", ofPeer("PBX node ", &api.Peer{State: "unknown"}, nil, "sbc pbx"), nil},
		{"down", ofPeer("PBX node ", &down, nil, "sbc pbx"), []string{"PBX node 203.0.113.20:5060 is down (3 probes were not answered)|sbc pbx"}},
		{"mute", ofPeer("PBX node ", &mute, nil, "sbc pbx"), []string{"PBX node 10.0.0.10:5060 has never answered an OPTIONS (no answer); calls are sent there all the same|sbc pbx"}},
		{"drained", ofPeer("PBX node ", &mute, &api.Drained{DrainedSince: at}, "sbc pbx"), []string{"PBX node 10.0.0.10:5060 is drained|sbc pbx undrain 10.0.0.10:5060"}},
		{"a trunk", ofTrunk(&api.Trunk{Name: "itsp", State: "up", Peers: []api.Peer{{State: "up"}, down}}), []string{"trunk itsp at 203.0.113.20:5060 is down (3 probes were not answered)|sbc why itsp"}},
		{"a trunk that is drained", ofTrunk(&api.Trunk{Name: "itsp", Drained: &api.Drained{}, Peers: []api.Peer{down}}), []string{"trunk itsp is drained|sbc trunks undrain itsp"}},
		{"an account", ofTrunk(&api.Trunk{Name: "itsp", Registration: &api.TrunkRegistration{State: "refused", Answer: "403 No\x1b", Fails: 2}}),
			[]string{"trunk itsp is not registered (403 No?)|sbc why itsp"}},
		{"an account that has only begun", ofTrunk(&api.Trunk{Name: "itsp", Registration: &api.TrunkRegistration{State: "registering"}}), nil},
		{"an account that is well", ofTrunk(&api.Trunk{Name: "itsp", Registration: &api.TrunkRegistration{State: "registered"}}), nil},
	} {
		var got []string
		for _, n := range tt.got {
			got = append(got, n.What+"|"+n.Look)
		}
		if strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
			t.Errorf("%s: %q", tt.name, got)
		}
	}
}

// TestTheLogNamesWhatAReloadChanged, without its values, and never without end.
func TestTheLogNamesWhatAReloadChanged(t *testing.T) {
	list := []config.Change{{Path: "trunks[itsp].credentials.password", Old: "secret", New: "other"}}
	if got := changedKeys(list); len(got) != 1 || got[0] != list[0].Path {
		t.Errorf("%q", got)
	}
	for range keysTold {
		list = append(list, config.Change{Path: "a"})
	}
	if got := changedKeys(list); len(got) != keysTold+1 || got[keysTold] != "and 1 more" {
		t.Errorf("%d: %q", len(got), got[len(got)-1])
	}
}
