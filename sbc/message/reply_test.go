package message

import (
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"sallyport/sbc/scan"
)

func TestReply(t *testing.T) {
	req := mustParse(t, strings.Replace(invite, "Allow:", "Timestamp: 54\r\nSubject: x\r\nAllow:", 1))
	tests := []struct {
		status int
		phrase string
		want   []Header
	}{
		{100, "", []Header{{"Timestamp", "54"}}},
		{180, "", []Header{{"Record-Route", "<sip:203.0.113.20;lr;ftag=1928301774>"}}},
		{200, "Fine", []Header{{"Record-Route", "<sip:203.0.113.20;lr;ftag=1928301774>"}}},
		{486, "", nil},
	}
	for _, tt := range tests {
		r := Reply(req, tt.status, tt.phrase)
		if tt.phrase == "" {
			tt.phrase = Phrase(tt.status)
		}
		if r.Status != tt.status || r.Reason != tt.phrase || r.Method != "INVITE" || r.CallID != req.CallID || r.CSeq != req.CSeq ||
			r.From != req.From || r.To != req.To || r.MaxForwards != -1 || !reflect.DeepEqual(r.Via, req.Via) || !reflect.DeepEqual(r.Headers, tt.want) {
			t.Errorf("%+v", r)
		}
		r.To.Tag = "ours"
		r.Via = append(r.Via, Via{})
		r.Add("Contact", "<sip:x@y>")
		if req.To.Tag != "" || len(req.Via) != 1 || strings.Contains(req.String(), "sip:x@y") {
			t.Fatal("the reply changed its request")
		}
	}
}

func TestSetSource(t *testing.T) {
	tests := []struct {
		via, src, want string
	}{
		{"192.0.2.1;branch=b", "192.0.2.1:5060", "192.0.2.1;branch=b"},
		{"192.0.2.1:5070;branch=b", "192.0.2.1:9", "192.0.2.1:5070;branch=b"},
		{"192.0.2.1;branch=b", "[::ffff:192.0.2.1]:5060", "192.0.2.1;branch=b"},
		{"192.0.2.1;branch=b", "192.0.2.2:5060", "192.0.2.1;branch=b;received=192.0.2.2"},
		{"pc.example.com;branch=b", "192.0.2.2:5060", "pc.example.com;branch=b;received=192.0.2.2"},
		{"192.0.2.1;branch=b;rport", "192.0.2.1:40000", "192.0.2.1;branch=b;received=192.0.2.1;rport=40000"},
		{"192.0.2.1;branch=b;rport=1", "192.0.2.2:40000", "192.0.2.1;branch=b;received=192.0.2.2;rport=40000"},
		{"192.0.2.1;branch=b;received=203.0.113.9", "192.0.2.1:5060", "192.0.2.1;branch=b"},
		{"192.0.2.1;branch=b;received=203.0.113.9;maddr=203.0.113.9", "192.0.2.3:5060", "192.0.2.1;branch=b;received=192.0.2.3;maddr=203.0.113.9"},
		{"[2001:db8::1];branch=b", "[2001:db8:0::1]:5060", "[2001:db8::1];branch=b"},
		{"[2001:db8::1];branch=b;rport", "[2001:db8::2%eth0]:5060", "[2001:db8::1];branch=b;received=2001:db8::2;rport=5060"},
		{"[::ffff:192.0.2.1];branch=b", "192.0.2.1:5060", "[::ffff:192.0.2.1];branch=b"},
	}
	for _, tt := range tests {
		m := mustParse(t, with("-Via", "Via: SIP/2.0/UDP "+tt.via+", SIP/2.0/UDP lower;branch=c;rport"))
		m.SetSource(netip.MustParseAddrPort(tt.src))
		if got := string(m.Via[0].append(nil)); got != "SIP/2.0/UDP "+tt.want {
			t.Errorf("%s from %s: %s", tt.via, tt.src, got)
		}
		if v := m.Via[1]; v.Received != "" || v.RPort != 0 {
			t.Errorf("lower hop %+v", v)
		}
	}
	r := Reply(mustParse(t, invite), 200, "")
	r.SetSource(netip.MustParseAddrPort("192.0.2.77:1"))
	if r.Via[0].Received != "" {
		t.Error("the source of a response was written into its Via")
	}
	(&Message{}).SetSource(netip.MustParseAddrPort("192.0.2.77:1"))
}

func scanned(t *testing.T, data string) *scan.View {
	t.Helper()
	v := new(scan.View)
	_ = scan.Scan([]byte(data), v) // a refused message may be answered too
	return v
}

func TestShortReply(t *testing.T) {
	src := netip.MustParseAddrPort("198.51.100.9:4444")
	raw := "REGISTER sip:x SIP/2.0\r\nv: SIP/2.0/udp 10.0.0.1;rport;branch=z9hG4bKa;received=1.1.1.1 , SIP/2.0/TCP h\r\n ;branch=q\r\n" +
		"Via: SIP/2.0/UDP last;branch=r\r\nf: \"A\r\n\tB\" <sip:a@b>;tag=1\r\nT: sip:c@d;p\r\nI: id\r\nCSeq: 007\r\n REGISTER\r\nX-Secret: s\r\nl: 99\r\n\r\nx"
	want := "SIP/2.0 403 Forbidden\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKa;received=198.51.100.9;rport=4444, SIP/2.0/TCP h ;branch=q\r\n" +
		"Via: SIP/2.0/UDP last;branch=r\r\nFrom: \"A\tB\" <sip:a@b>;tag=1\r\nTo: sip:c@d;p;tag=us\r\nCall-ID: id\r\nCSeq: 7 REGISTER\r\n" +
		"Retry-After: 5\r\nContent-Length: 0\r\n\r\n"
	got, err := ShortReply([]byte("before"), []byte(raw), scanned(t, raw), src, 403, "", "us", Header{"Retry-After", "5"})
	if err != nil || string(got) != "before"+want {
		t.Errorf("%v\n%s", err, got)
	}
	tagged := strings.Replace(raw, "T: sip:c@d;p", "T: sip:c@d;p;tag=theirs", 1)
	got, err = ShortReply(nil, []byte(tagged), scanned(t, tagged), src, 400, "Bad Thing", "us")
	if err != nil || !strings.HasPrefix(string(got), "SIP/2.0 400 Bad Thing\r\n") || !strings.Contains(string(got), "To: sip:c@d;p;tag=theirs\r\n") {
		t.Errorf("%v\n%s", err, got)
	}
}

func TestShortReplyRefuses(t *testing.T) {
	src := netip.MustParseAddrPort("198.51.100.9:4444")
	tests := []struct {
		name, raw string
		phrase    string
		extra     []Header
		want      error
	}{
		{"ACK", strings.ReplaceAll(with(), "OPTIONS", "ACK"), "", nil, ErrNoReply},
		{"response", strings.Replace(with(), "OPTIONS sip:b@example.com SIP/2.0", "SIP/2.0 200 OK", 1), "", nil, ErrNoReply},
		{"no Via", with("-Via"), "", nil, ErrNoReply},
		{"no From", with("-From"), "", nil, ErrNoReply},
		{"no To", with("-To"), "", nil, ErrNoReply},
		{"no Call-ID", with("-Call-ID"), "", nil, ErrNoReply},
		{"no CSeq", with("-CSeq"), "", nil, ErrNoReply},
		{"broken Via", with("-Via", "Via: SIP/2.0/UDP h;;branch=b"), "", nil, ErrNoReply},
		{"open quotation mark in Via", with("-Via", "Via: SIP/2.0/UDP h;branch=b;x=\""), "", nil, ErrNoReply},
		{"bare LF", with("Subject: a\nb"), "", nil, ErrNoReply},
		{"no end", strings.TrimSuffix(with(), "\r\n"), "", nil, ErrNoReply},
		{"line end in the phrase", with(), "x\r\nY: z", nil, ErrWriteControl},
		{"line end in an extra value", with(), "", []Header{{"Warning", "a\nb"}}, ErrWriteControl},
		{"extra name", with(), "", []Header{{"War ning", "a"}}, ErrWriteName},
		{"extra Via", with(), "", []Header{{"Via", "a"}}, ErrWriteTyped},
		{"too large", with(), "", []Header{{"Warning", strings.Repeat("x", 300)}}, ErrReplyTooLarge},
	}
	for _, tt := range tests {
		got, err := ShortReply([]byte("before"), []byte(tt.raw), scanned(t, tt.raw), src, 403, tt.phrase, "t", tt.extra...)
		if !errors.Is(err, tt.want) || string(got) != "before" {
			t.Errorf("%s: %v %q", tt.name, err, got)
		}
	}
}

func FuzzShortReply(f *testing.F) {
	fuzzCorpus(f)
	src := netip.MustParseAddrPort("198.51.100.9:4444")
	f.Fuzz(func(t *testing.T, data []byte) {
		var v scan.View
		_ = scan.Scan(data, &v)
		out, err := ShortReply(nil, data, &v, src, 400, "", "tag")
		if err != nil {
			return
		}
		if len(out) > len(data)+replyMargin {
			t.Fatalf("%d bytes for %d", len(out), len(data))
		}
		var r scan.View
		err = scan.Scan(out, &r)
		if errors.Is(err, scan.ErrViaCount) || errors.Is(err, scan.ErrLineLength) || errors.Is(err, scan.ErrTooLarge) {
			return
		}
		if err != nil || r.Status != 400 || r.Vias != v.Vias || r.CSeq != v.CSeq || string(r.Bytes(r.Branch)) != string(v.Bytes(v.Branch)) {
			t.Fatalf("%v: %q from %q", err, out, data)
		}
	})
}
