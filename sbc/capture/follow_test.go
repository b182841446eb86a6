package capture

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"sallyport/media"
	"sallyport/nat"
	"sallyport/sbc/api"
	"sallyport/sbc/tu"
)

// TestSurvey: which calls in progress a subject has a part in.
func TestSurvey(t *testing.T) {
	s := newStage()
	s.call(7)
	phone := s.call(8)
	phone.view.AoR, phone.view.Ends = "204@example.com", []string{"198.51.100.7:5062", "10.0.0.5:5060", sound.String(), "0.0.0.0:0"}
	broken := s.call(9)
	broken.view.Ends, broken.view.CallIDs = []string{"", "provider.example:5060", "203.0.113.20", "[::1", "[2001:db8::1]:5060"}, []string{"", "in-9"}
	for _, c := range []struct {
		subject string
		want    []tu.UserID
	}{
		{"call-7", []tu.UserID{7}}, {"in-8", []tu.UserID{8}}, {"in-9", []tu.UserID{9}}, {"204@example.com", []tu.UserID{8}}, {"204", []tu.UserID{8}},
		{"203.0.113.20", []tu.UserID{7, 8}}, {"10.0.0.0/8", []tu.UserID{7, 8}}, {"2001:db8::/32", []tu.UserID{9}}, {"0.0.0.0", []tu.UserID{8}}, {"192.0.2.1", nil},
	} {
		x := s.begin(t, api.CaptureRequest{Subject: c.subject})
		var got []tu.UserID
		for _, id := range []tu.UserID{7, 8, 9} {
			if name, follows := x.follows[id]; follows && name == fmt.Sprint("call-", id) {
				got = append(got, id)
			}
		}
		if _, nameless := x.callIDs[""]; !slices.Equal(got, c.want) || nameless || x.state().Follows != len(c.want) {
			t.Errorf("%s: %v, want %v", c.subject, got, c.want)
		}
		s.set.end(x)
	}
	if got := s.told(); got != "" {
		t.Errorf("nobody wanted media, but the relay was told %s", got)
	}
}

// TestTaps: a stream is copied in the forms that its captures want, from the first one's beginning to the last one's end.
func TestTaps(t *testing.T) {
	s := newStage()
	s.call(7, 70, 71)
	wire := s.begin(t, api.CaptureRequest{Subject: "call-7", Media: true})
	if got := s.told(); got != "70 1, 71 1" {
		t.Errorf("the first: %s", got)
	}
	s.set.survey(wire)
	s.begin(t, api.CaptureRequest{Subject: "call-7"})
	if got := s.told(); got != "" {
		t.Errorf("nothing new: %s", got)
	}
	open := s.begin(t, api.CaptureRequest{Subject: "203.0.113.20", Media: true, Clear: true})
	if got := s.told(); got != "70 3, 71 3" {
		t.Errorf("the second: %s", got)
	}
	both := media.TapWire | media.TapClear
	copies := []media.Copy{
		{ID: 70, Side: nat.Outside, At: time.Now(), Local: door, Remote: sound, Form: media.TapWire, Data: []byte("sealed")},
		{ID: 70, Side: nat.Outside, At: time.Now(), Local: door, Remote: sound, Form: media.TapClear, Data: []byte("open")},
		{ID: 71, Side: nat.Inside, At: time.Now(), Local: node, Remote: node, Sent: true, Form: both, Data: []byte("either")},
		{ID: 70, Side: nat.Outside, At: time.Now(), Local: door, Remote: stranger, Form: both, Why: media.RejectedSource, Data: []byte("stray")},
		{ID: 99, At: time.Now(), Local: door, Remote: stranger, Form: both, Data: []byte("of another call")},
	}
	s.set.Copied(copies, 3)
	const ways = "203.0.113.20:4000 > 203.0.113.10:30000 "
	rest := []string{"10.0.0.5:5080 > 10.0.0.5:5080 either | call call-7", "192.0.2.66:5060 > 203.0.113.10:30000 stray | call call-7; not relayed: source"}
	equal(t, "as on the wire", noted(wire), append([]string{ways + "sealed | call call-7"}, rest...)...)
	equal(t, "decrypted", noted(open), append([]string{ways + "open | call call-7"}, rest...)...)
	for _, x := range s.set.List() {
		if want := map[bool]uint64{true: 3}[x.Media]; x.Missed != want {
			t.Errorf("%+v", x)
		}
	}
	s.set.end(wire)
	s.set.end(open)
	if got := s.told(); len(got) != len("70 2, 71 2, 70 0, 71 0") || len(s.set.streams) != 0 {
		t.Errorf("the end: %s, %d streams", got, len(s.set.streams))
	}
	s.set.Copied(copies, 0)
	equal(t, "after its end", noted(wire))
}

// TestCallEnds: what is said in farewell belongs to it, then it is forgotten; a capture of that call alone is over.
func TestCallEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		s.call(7, 70)
		s.call(8, 80)
		of, by := s.begin(t, api.CaptureRequest{Subject: "call-7", Media: true}), s.begin(t, api.CaptureRequest{Subject: "203.0.113.20", Media: true})
		s.told()
		s.set.Ended(5) // a user that nobody follows
		s.set.Ended(7)
		delete(s.calls, 7)
		time.Sleep(linger / 2)
		s.set.Sent(inside, node, sip("200", "in-7", plain...))
		const last = "10.0.0.2:5080 > 10.0.0.5:5080 SIP/2.0 200 Said | call call-7"
		equal(t, "of the call", noted(of), last)
		equal(t, "of the address", noted(by), last)
		time.Sleep(linger)
		synctest.Wait()
		s.set.Sent(inside, node, sip("200", "in-7", plain...))
		equal(t, "of the call, later", noted(of))
		equal(t, "of the address, later", noted(by))
		select {
		case <-of.ended:
		default:
			t.Error("the call's capture goes on")
		}
		if of.why != "the call is over" || by.state().Follows != 1 || s.told() != "70 0" || len(s.set.streams) != 1 {
			t.Errorf("%q, %+v, %d streams", of.why, by.state(), len(s.set.streams))
		}
		select {
		case <-by.ended:
			t.Error("the address's capture has ended: " + by.why)
		default:
		}
	})
}

// TestTapsAreSettled: whatever calls and captures come and go, a stream is tapped in just the forms that are wanted of it, and
// in none once nobody wants it.
func TestTapsAreSettled(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newStage()
		tapped := map[media.ID]media.Tap{}
		var under []*capture
		hear := func() {
			for _, order := range s.taps {
				var id media.ID
				var forms media.Tap
				if _, err := fmt.Sscanf(order, "%d %d", &id, &forms); err != nil {
					t.Fatal(err)
				}
				if forms == tapped[id] {
					t.Fatalf("the relay is told twice: %s", order)
				}
				if tapped[id] = forms; forms == 0 {
					delete(tapped, id)
				}
			}
			s.taps = nil
			want := map[media.ID]media.Tap{}
			for _, c := range under {
				for id := range c.follows {
					for _, at := range s.calls[id].streams {
						if c.form != 0 {
							want[at] |= c.form
						}
					}
				}
			}
			if fmt.Sprint(want) != fmt.Sprint(tapped) || len(s.set.streams) != len(want) {
				t.Fatalf("tapped %v, want %v, %d streams", tapped, want, len(s.set.streams))
			}
		}
		next := tu.UserID(0)
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch step := rapid.IntRange(0, 3).Draw(t, "step"); {
			case step == 0:
				next++
				s.call(next, media.ID(next*10), media.ID(next*10+1))
			case step == 1 && len(under) < most:
				q := api.CaptureRequest{Subject: "203.0.113.20", Media: rapid.Bool().Draw(t, "media")}
				q.Clear = q.Media && rapid.Bool().Draw(t, "clear")
				c, err := s.set.begin(&q, subject{source: must(s.set.subject(t.Context(), q.Subject)).source})
				if err != nil {
					t.Fatal(err)
				}
				s.set.survey(c)
				under = append(under, c)
			case step == 2 && len(under) > 0:
				i := rapid.IntRange(0, len(under)-1).Draw(t, "which")
				s.set.end(under[i])
				under = slices.Delete(under, i, i+1)
			case step == 3 && next > 0:
				id := tu.UserID(rapid.Uint64Range(1, uint64(next)).Draw(t, "call"))
				for _, c := range under {
					s.set.forget(c, id)
				}
			}
			hear()
		}
		for _, c := range under {
			s.set.end(c)
		}
		under = nil
		hear()
		if s.set.Running() || s.set.Lost() != 0 {
			t.Fatal("something is left")
		}
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
