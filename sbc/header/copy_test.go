package header

import (
	"slices"
	"strings"
	"testing"

	"sallyport/sbc/message"
)

// TestAllowList says of every field which way it passes: t trunk to PBX, p PBX to trunk, f phone to PBX, b back to it.
func TestAllowList(t *testing.T) {
	values := map[string]string{
		"Warning": `399 x "y"`, "Allow": "INVITE", "Supported": "histinfo", "Require": "histinfo",
		"P-Charging-Vector": "icid-value=1", "WWW-Authenticate": "Digest a=b",
	}
	for _, n := range []string{"P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID", "Diversion", "History-Info",
		"P-Called-Party-ID", "P-Served-User", "P-Associated-Uri", "Referred-By"} {
		values[n] = "<sip:1@x>"
	}
	for _, tt := range []struct{ ways, names string }{
		{"tpfb", `Accept Accept-Contact Accept-Encoding Accept-Language Allow Supported Require Unsupported Content-Disposition
			Content-Encoding Content-Language MIME-Version Subject Priority Reason Privacy Date Event Subscription-State Expires
			Min-Expires Retry-After Warning P-Early-Media User-to-User Geolocation Geolocation-Error Geolocation-Routing
			P-Preferred-Identity Refer-Sub Referred-By Accept-Resource-Priority SIP-ETag SIP-If-Match Allow-Events Recv-Info Info-Package`},
		{"tpb", "Resource-Priority Alert-Info Call-Info P-Asserted-Identity Remote-Party-ID Diversion History-Info"},
		{"tp", "Identity"},
		{"t", `P-Called-Party-ID P-Served-User P-Associated-Uri P-Charging-Vector P-Access-Network-Info P-Anything X-Anything
			X-Asterisk-Hangupcause`},
		{"f", "Authorization Proxy-Authorization"},
		{"b", "WWW-Authenticate Proxy-Authenticate Authentication-Info"},
		{"", `Server User-Agent Organization Via Record-Route Route Contact Call-ID CSeq From To Max-Forwards Content-Length
			Content-Type Content-ID Path Service-Route Session-Expires Min-SE RSeq RAck Replaces Join Target-Dialog In-Reply-To
			Refer-To Proxy-Require Error-Info Timestamp Reply-To Session-Id Feature-Caps
			P-Charging-Function-Addresses Security-Client Flow-Timer Unheard-Of X P x-lower`},
	} {
		for name := range strings.FieldsSeq(tt.names) {
			value := values[name]
			if value == "" {
				value = "x"
			}
			in := &message.Message{Body: []byte("x"), Headers: []message.Header{{Name: name, Value: value}}}
			got := ""
			for i, letter := range "tpfb" {
				out := &message.Message{}
				if Copy(directions[i], in, out, testHosts[directions[i]]); len(out.Headers) == 1 && out.Headers[0].Name == name {
					got += string(letter)
				}
			}
			if got != tt.ways {
				t.Errorf("%s passes %q, want %q", name, got, tt.ways)
			}
		}
	}
}

// TestTrusted: a phone's owner may let more pass, but nothing that belongs to one hop, or that no trunk may send.
func TestTrusted(t *testing.T) {
	for _, tt := range []struct {
		name string
		pass bool
	}{
		{"P-Asserted-Identity", true}, {"Remote-Party-ID", true}, {"Diversion", true}, {"History-Info", true}, {"Alert-Info", true},
		{"Call-Info", true}, {"Identity", true}, {"X-Account", true}, {"P-Anything", true}, {"P-Charging-Vector", true},
		{"P-Charging-Function-Addresses", false}, {"Via", false}, {"Route", false}, {"Record-Route", false}, {"Contact", false},
		{"WWW-Authenticate", false}, {"Authentication-Info", false}, {"Server", false}, {"User-Agent", false}, {"Content-Length", false},
		{"Path", false}, {"Unheard-Of", false}, {"Replaces", false},
	} {
		value := "<sip:1@192.168.1.5>"
		if tt.name == "P-Charging-Vector" {
			value = "icid-value=1"
		}
		in := &message.Message{Headers: []message.Header{{Name: tt.name, Value: value}, {Name: "X-Other", Value: "x"}}}
		for _, d := range directions {
			h := testHosts[d]
			h.Trusted = []string{"x-nothing", strings.ToLower(tt.name)}
			with, without := &message.Message{}, &message.Message{}
			Copy(d, in, with, h)
			Copy(d, in, without, testHosts[d])
			_, passed := with.Get(tt.name)
			if d == PhoneToPBX && (passed != tt.pass || len(without.Headers) != 0 || len(with.Headers) > 1) {
				t.Errorf("%s passes %v; with trust %v, without %v", tt.name, passed, with.Headers, without.Headers)
			}
			if d == PhoneToPBX && passed && tt.name == "P-Asserted-Identity" && strings.Contains(with.Headers[0].Value, "192.168") {
				t.Errorf("trust is no reason to show a host: %v", with.Headers)
			}
			if d != PhoneToPBX && len(with.Headers) != len(without.Headers) {
				t.Errorf("%s %v: trust in a phone says nothing of others", tt.name, d)
			}
		}
	}
}

func TestCopyKeepsOrderAndRepeats(t *testing.T) {
	in := &message.Message{Headers: []message.Header{
		{Name: "X-A", Value: "1"}, {Name: "Server", Value: "s"}, {Name: "Reason", Value: "Q.850;cause=16"},
		{Name: "Reason", Value: "SIP;cause=200"}, {Name: "X-A", Value: "2"}, {Name: "Content-Language", Value: "de"},
	}}
	out := &message.Message{Headers: []message.Header{{Name: "Contact", Value: "<sip:x@y>"}}}
	Copy(TrunkToPBX, in, out, testHosts[TrunkToPBX])
	want := []message.Header{
		{Name: "Contact", Value: "<sip:x@y>"}, {Name: "X-A", Value: "1"}, {Name: "Reason", Value: "Q.850;cause=16"},
		{Name: "Reason", Value: "SIP;cause=200"}, {Name: "X-A", Value: "2"},
	}
	if !slices.Equal(out.Headers, want) { // Content-Language says nothing without a body
		t.Errorf("%+v", out.Headers)
	}
}

func TestEdits(t *testing.T) {
	tests := []struct {
		name, in, want string // want empty: does not pass
	}{
		{"Allow", "INVITE,ACK ,PUBLISH,  BYE", "INVITE, ACK, BYE"},
		{"Allow", "SUBSCRIBE, PUBLISH", ""},
		{"Allow", "invite", ""}, // methods are case-sensitive
		{"Allow", "", ""},
		{"Supported", "100rel, timer, path, outbound, gruu", ""},
		{"Supported", "replaces, join,tdialog, norefersub", "replaces, join, tdialog, norefersub"},
		{"Referred-By", `"A" <sip:204@10.0.0.10:5062>;cid="x@10.0.0.10"`, `"A" <sip:204@gate:5080>`},
		{"Referred-By", "10.0.0.10", ""},
		{"Supported", "HistInfo,timer,,privacy", "HistInfo, privacy"},
		{"Require", "100rel", ""},
		{"Warning", `399 pbx.local "a"`, `399 gate:5080 "a"`},
		{"Warning", `399 pbx.local:5060 "a, \"b\"" , 301 - "c"`, `399 gate:5080 "a, \"b\"", 301 gate:5080 "c"`},
		{"Warning", `399 pbx.local a`, ""},
		{"Warning", `399 pbx.local "a`, ""},
		{"Warning", `399`, ""},
		{"Warning", `3999 x "a"`, ""},
		{"Warning", `39x x "a"`, ""},
		{"Warning", `399 x "a" y`, ""},
		{"Warning", ``, ""},
		{"P-Charging-Vector", "icid-value=1a;icid-generated-at=10.0.0.9;orig-ioi=itsp.example", "icid-value=1a"},
		{"P-Charging-Vector", `orig-ioi=x; ICID-Value="a"`, `ICID-Value="a"`},
		{"P-Charging-Vector", "orig-ioi=itsp.example", ""},
		{"P-Asserted-Identity", "<sip:1@pbx>", "<sip:1@gate:5080>"},
		{"P-Asserted-Identity", "sip:1@pbx;x=y", "<sip:1@gate:5080>;x=y"},
		{"P-Asserted-Identity", `"a, b" <sips:1:pw@pbx:5061;transport=tls;user=phone?Subject=x>`, `"a, b" <sip:1@gate:5080;user=phone>`},
		{"P-Asserted-Identity", "<tel:+49;x=y;verstat=No-TN-Validation>, <sip:1;tgrp=a;trunk-context=b;npdi@pbx>", "<tel:+49;verstat=No-TN-Validation>, <sip:1;npdi@gate:5080>"},
		{"P-Asserted-Identity", "<tel:1;phone-context=pbx.local>, <tel:2;phone-context=+49>", "<tel:1;phone-context=gate>, <tel:2;phone-context=+49>"},
		{"P-Asserted-Identity", "<sip:anonymous@Anonymous.Invalid:5060;transport=udp>", "<sip:anonymous@Anonymous.Invalid>"},
		{"P-Asserted-Identity", "<mailto:a@pbx>", ""},
		{"P-Asserted-Identity", "<mailto:a@pbx>, <urn:service:sos>", "<urn:service:sos>"},
		{"P-Asserted-Identity", "<sip:1@pbx", ""},
		{"P-Asserted-Identity", "", ""},
		{"History-Info", "<sip:1@pbx?Privacy=history&Reason=SIP%3Bcause%3D302&X=1>;index=1", "<sip:1@gate:5080?Privacy=history&Reason=SIP%3Bcause%3D302>;index=1"},
		{"History-Info", "<sip:1@pbx;cause=302;gr=x;target=sip%3a2%40pbx>;index=1", "<sip:1@gate:5080;cause=302>;index=1"},
	}
	h := Hosts{Identity: "gate:5080"}
	for _, tt := range tests {
		in := &message.Message{Headers: []message.Header{{Name: tt.name, Value: tt.in}}}
		out := &message.Message{}
		Copy(TrunkToPBX, in, out, h)
		if got, ok := out.Get(tt.name); got != tt.want || ok != (tt.want != "") {
			t.Errorf("%s: %s\nbecame %q, want %q", tt.name, tt.in, got, tt.want)
		}
	}
}

func TestChallenge(t *testing.T) {
	for in, want := range map[string]string{
		`Digest realm="a", nonce="b", qop="auth,auth-int", opaque=""`: `Digest realm="a", nonce="b", qop="auth", opaque=""`,
		`Digest QOP="auth-int, auth", realm="a"`:                      `Digest QOP="auth", realm="a"`,
		`Digest realm="a",  nonce="b" ,qop="auth"`:                    `Digest realm="a",  nonce="b" ,qop="auth"`,
		`Digest qop="auth-int"`:                                       `Digest qop="auth-int"`,
		`Digest qop="auth,x,AUTH-INT"`:                                `Digest qop="auth,x"`,
		`Digest qop="auth`:                                            `Digest qop="auth`,
		`Digest realm="a"`:                                            `Digest realm="a"`,
	} {
		if got, ok := challenge(in, nil); got != want || !ok {
			t.Errorf("%s became %s", in, got)
		}
	}
}

func TestUnsupported(t *testing.T) {
	m := &message.Message{Method: "INVITE", Headers: []message.Header{
		{Name: "Require", Value: "100rel, HistInfo"}, {Name: "Require", Value: "timer"},
		{Name: "Proxy-Require", Value: "sec-agree, timer"}, {Name: "Supported", Value: "outbound"},
	}}
	if got := Unsupported(m); !slices.Equal(got, []string{"sec-agree", "timer"}) {
		t.Errorf("%q", got)
	}
	// RFC 3261 §8.2.2.3: "An element receiving a CANCEL request must ignore" them, and an ACK has no answer.
	for _, method := range []string{"ACK", "CANCEL"} {
		if m.Method = method; Unsupported(m) != nil {
			t.Errorf("%s is refused", method)
		}
	}
	m.Method, m.Status = "INVITE", 200
	if Unsupported(m) != nil {
		t.Error("a response is no request")
	}
	if Unsupported(&message.Message{Method: "INVITE"}) != nil {
		t.Error("nothing is required")
	}
}

func TestMethods(t *testing.T) {
	for _, m := range []string{"INVITE", "ACK", "CANCEL", "BYE", "OPTIONS"} {
		if !slices.Contains(methods, m) {
			t.Errorf("%s is missing in Allow", m)
		}
	}
	for _, m := range []string{"SUBSCRIBE", "REGISTER", "PUBLISH"} {
		if slices.Contains(methods, m) {
			t.Errorf("%s is promised, but not served", m)
		}
	}
}
