package call

import (
	"strings"
	"testing"

	"sallyport/media/sdp"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// with makes a message of fields: "Name: value".
func with(fields ...string) *message.Message {
	m := &message.Message{Method: "INVITE"}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		m.Add(name, value)
	}
	return m
}

func TestReliableResponsesAreTold(t *testing.T) {
	for _, x := range []struct {
		fields []string
		want   uint32
	}{
		{[]string{"Require: 100rel", "RSeq: 1"}, 1},
		{[]string{"Require: precondition, 100REL", "RSeq: 4294967295"}, 1<<32 - 1},
		{[]string{"Require: 100rel", "RSeq: 0"}, 0},
		{[]string{"Require: 100rel", "RSeq: 4294967296"}, 0},
		{[]string{"Require: 100rel", "RSeq: one"}, 0},
		{[]string{"Require: 100rel"}, 0},
		{[]string{"Supported: 100rel", "RSeq: 1"}, 0},
		{nil, 0},
	} {
		if got := rseqOf(with(x.fields...)); got != x.want {
			t.Errorf("%v: %d, want %d", x.fields, got, x.want)
		}
	}
}

func TestOrderOfReliableResponses(t *testing.T) {
	var p pair
	for _, x := range []struct {
		rseq uint32
		want bool
	}{{1<<32 - 2, true}, {1<<32 - 2, false}, {1 << 31, false}, {1<<32 - 1, true}, {1, false}} {
		if got := p.inOrder(x.rseq); got != x.want {
			t.Errorf("%d after the others: %v", x.rseq, got)
		}
	}
}

func TestRAck(t *testing.T) {
	for _, x := range []struct {
		in     string
		rseq   uint32
		cseq   uint32
		method string
		ok     bool
	}{
		{"776656 1 INVITE", 776656, 1, "INVITE", true},
		{"1  2\tINVITE", 1, 2, "INVITE", true},
		{"1 2", 0, 0, "", false},
		{"1 2 INVITE x", 0, 0, "", false},
		{"x 2 INVITE", 0, 2, "INVITE", false},
		{"4294967296 2 INVITE", 1<<32 - 1, 2, "INVITE", false},
		{"1 -2 INVITE", 1, 0, "INVITE", false},
		{"", 0, 0, "", false},
	} {
		rseq, cseq, method, ok := rackOf(with("RAck: " + x.in))
		if ok != x.ok || ok && (rseq != x.rseq || cseq != x.cseq || method != x.method) {
			t.Errorf("%q: %d %d %s %v", x.in, rseq, cseq, method, ok)
		}
	}
}

func TestTagsOfACall(t *testing.T) {
	for _, x := range []struct {
		fields  []string
		offered bool
		missing string
		out     string
	}{
		{nil, false, "", ""},
		{nil, true, "", "Supported: 100rel"},
		{[]string{"Supported: 100rel"}, false, "", "Supported: 100rel"},
		{[]string{"Require: 100rel"}, false, "", "Supported: 100rel"},
		{[]string{"Supported: 100rel, 199"}, true, "", "Supported: 100rel; Supported: 199"},
		{[]string{"Supported: precondition"}, true, "", "Supported: 100rel"},
		{[]string{"Supported: precondition, 100rel"}, true, "", "Supported: 100rel; Supported: precondition"},
		{[]string{"Require: precondition", "Supported: 100rel"}, true, "", "Supported: 100rel; Require: precondition"},
		{[]string{"Require: precondition"}, true, "precondition", "Supported: 100rel"},
		{[]string{"Require: precondition, wings", "Supported: precondition"}, true, "wings precondition", "Supported: 100rel"},
	} {
		c := &Call{offered: x.offered}
		in, out := with(x.fields...), with()
		if got := strings.Join(c.takeTags(in), " "); got != x.missing {
			t.Errorf("%v: missing %q, want %q", x.fields, got, x.missing)
		}
		c.offerTags(in, out)
		var list []string
		for _, h := range out.Headers {
			list = append(list, h.Name+": "+h.Value)
		}
		if got := strings.Join(list, "; "); got != x.out {
			t.Errorf("%v: %q, want %q", x.fields, got, x.out)
		}
	}
}

// TestAllowFollowsTags: who says 100rel takes PRACK, whatever the caller's own Allow was.
func TestAllowFollowsTags(t *testing.T) {
	for in, want := range map[string]string{"INVITE, BYE": "INVITE, BYE, PRACK", "INVITE, PRACK, BYE": "INVITE, PRACK, BYE"} {
		c := &Call{offered: true}
		out := with("Allow: " + in)
		c.offerTags(with(), out)
		if got, _ := out.Get("Allow"); got != want {
			t.Errorf("%q became %q", in, got)
		}
	}
}

// formatsOf are the formats of the streams of a specification.
func formatsOf(t *testing.T, spec string) (list []formats) {
	t.Helper()
	s, err := sdp.Parse(describe(itsp1, spec))
	if err != nil {
		t.Fatal(err)
	}
	for i := range s.Len() {
		line := s.At(i)
		f := formats{}
		if !line.Rejected() && line.IsRTP() {
			f.said = s.Formats(i)
		}
		list = append(list, f)
	}
	return list
}

func TestStrangeAnswers(t *testing.T) {
	const te = "101=telephone-event/8000"
	for _, x := range []struct {
		offer, answer string
		want          bool
	}{
		{"audio:4000", "audio:4002", false},
		{"audio:4000", "audio:4002::8", true},
		{"audio:4000::0+8", "audio:4002::8", false},
		{"audio:4000::0+" + te, "audio:4002::8+" + te, true},
		{"audio:4000::0+" + te, "audio:4002::" + te, false},
		{"audio:4000::0+13", "audio:4002::8+13", true},
		{"audio:4000::96=opus/48000/2", "audio:4002::97=opus/48000/2(useinbandfec=1)", false},
		{"audio:4000::96=AMR/8000", "audio:4002::96=AMR-WB/16000", true},
		{"audio:4000", "audio:0", false},
		{"audio:0", "audio:4002::8", false},
		{"audio:4000,video:4010::97=VP8/90000", "audio:4002::8,video:4012::97=VP8/90000", false},
		{"audio:4000,video:4010::97=VP8/90000", "audio:4002::8,video:0", true},
		{"audio:4000", "audio:4002,audio:4004::8", false},
	} {
		if got := strange(formatsOf(t, x.answer), formatsOf(t, x.offer)); got != x.want {
			t.Errorf("%s answered by %s: %v", x.offer, x.answer, got)
		}
	}
	if strange(nil, nil) {
		t.Error("nothing answered by nothing")
	}
}

func TestAlikeDescriptions(t *testing.T) {
	for _, x := range []struct {
		offer, ours string
		want        bool
	}{
		{"audio:4000", "audio:5000", true},
		{"audio:4000::8", "audio:5000", true}, // whether it has a codec is asked of the answer
		{"audio:4000:sendonly", "audio:5000", false},
		{"audio:4000", "audio:5000:inactive", false},
		{"audio:4000@0.0.0.0", "audio:5000", false},
		{"audio:4000,video:4010", "audio:5000", false},
		{"audio:4000,video:4010", "audio:5000,audio:5010", false},
		{"audio:4000,video:0", "audio:5000,video:0", true},
		{"audio:4000,video:0", "audio:5000,video:5010", false},
		{"audio:4000::0+savp+seal", "audio:5000::0+savp+seal", false},
		{"audio:4000::0+seal", "audio:5000", false},
		{"audio:4000::0+print+actpass", "audio:5000", false},
		{"bad", "audio:5000", false},
		{"audio:4000", "bad", false},
	} {
		if got := alike(describe(itsp1, x.offer), describe(node1, x.ours)); got != x.want {
			t.Errorf("%s, ours %s: %v", x.offer, x.ours, got)
		}
	}
}

func TestFewerStreams(t *testing.T) {
	for _, x := range []struct {
		before, now string
		want        bool
	}{
		{"audio:4000", "audio:4000", false},
		{"audio:4000,video:0", "audio:4000", true},
		{"audio:4000", "audio:4000,video:4010", false},
		{"audio:4000,video:4010", "audio:0,video:0", false},
	} {
		if got := fewer(describe(itsp1, x.before), describe(itsp1, x.now)); got != x.want {
			t.Errorf("%s, then %s: %v", x.before, x.now, got)
		}
	}
	if fewer(nil, describe(itsp1, "audio:4000")) {
		t.Error("the first description leaves nothing out")
	}
}

// TestPledgesAreBounded: a callee may ring as often as it likes while the caller owes a PRACK.
func TestPledgesAreBounded(t *testing.T) {
	p := &player{t: t, stage: newStage(t, "itsp1"), names: map[string]string{}}
	for _, line := range []string{"a INVITE sdp=audio:4000 Require=100rel", "routed node1", "reserved 1", "b 183 tag=x sdp=audio:4002"} {
		p.event(line)
	}
	for range 100 {
		p.event("b 180 tag=x")
	}
	if n := len(p.c.pairs[0].steady.later); n > maxLater {
		t.Errorf("%d responses wait", n)
	}
	got := 0
	for range 10 {
		for _, a := range p.event("a PRACK") {
			if r, is := a.(tu.Respond); is && r.Msg.Status < 200 {
				got++
			}
		}
	}
	if got != maxLater {
		t.Errorf("%d responses followed", got)
	}
	p.lawless = true
}
