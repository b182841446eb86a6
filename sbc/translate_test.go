package sbc

import (
	"fmt"
	"strings"
	"testing"

	"sallyport/sbc/config"
)

const translated = `outside: { address: 203.0.113.10 }
inside: { address: 10.0.0.2 }
pbx: { domain: example.com, nodes: [ { address: "10.0.0.10:5060" } ] }
phones: { headers: { outbound: [ { header: X-Phone, action: set, value: "1" } ] }, codes: { outbound: [ { from: 404, to: 480 } ] } }
trunks:
  - name: itsp
    peers: [ { address: "203.0.113.20:5060" } ]
    numbers: { outbound: [ { of: calling, match: '[0-9]{3}', replace: '+4930555$0' } ] }
    identity: { asserted: p-asserted, diversion: history-info }
    headers: { inbound: [ { header: X-Trunk, action: set, value: itsp } ], outbound: [ { header: X-Customer, action: set, value: "42" } ] }
    codes: { inbound: [ { from: 603, to: 486 } ] }
`

func translatedSnapshot(t testing.TB) *config.Snapshot {
	t.Helper()
	snap, report := config.Parse("sbc.yaml", []byte(translated), config.Flags{})
	if snap == nil {
		t.Fatal(report.String())
	}
	return snap
}

// said is a message of a peer: a method, or a status and the method that it answers.
func said(what, to string) []byte {
	start, method := fmt.Sprintf("%s sip:204@10.0.0.2 SIP/2.0", what), what
	if status, of, ok := strings.Cut(what, " "); ok {
		start, method = "SIP/2.0 "+status+" Said", of
	}
	var extra string
	switch method {
	case "SUBSCRIBE", "NOTIFY", "PUBLISH":
		extra = "Event: dialog\nSubscription-State: active;expires=60\nExpires: 60\n"
	case "RAck":
		extra = "RAck: 1 1 INVITE\n"
	}
	return []byte(start + "\nVia: SIP/2.0/UDP 10.0.0.10:5060;branch=z9hG4bK1\nFrom: <sip:204@example.com>;tag=f\nTo: <sip:204@example.com>" + to +
		"\nCall-ID: c\nCSeq: 3 " + method + "\nMax-Forwards: 70\nContact: <sip:204@10.0.0.10>\nSubject: s\nX-Odd: 1\n" + extra + "\n")
}

// TestTranslateAnything: each kind of message, from each kind of peer, becomes something, or is refused with a reason; with two
// readings it becomes the same.
func TestTranslateAnything(t *testing.T) {
	snap := translatedSnapshot(t)
	for _, from := range []Translation{{From: "itsp"}, {From: "pbx", To: "itsp"}, {From: "pbx", To: "204"}, {From: "phone"}} {
		for _, what := range []string{
			"INVITE", "OPTIONS", "MESSAGE", "INFO", "NOTIFY", "SUBSCRIBE", "PUBLISH", "REGISTER", "BYE", "UPDATE", "ACK", "STRANGE",
			"180 INVITE", "200 INVITE", "302 INVITE", "401 INVITE", "404 INVITE", "503 INVITE", "603 INVITE", "200 MESSAGE", "404 OPTIONS", "200 SUBSCRIBE", "200 BYE",
		} {
			for _, tag := range []string{"", ";tag=t"} {
				q := from
				q.Message = said(what, tag)
				out, err := Translate(snap, q)
				if err != nil {
					t.Errorf("%s%s from %s: %v", what, tag, from.From, err)
					continue
				}
				if out.From == "" || out.Refused == "" && (out.Start.Effect == "" || len(out.Fields) < 5) {
					t.Errorf("%s%s from %s to %q:\n%s", what, tag, from.From, from.To, out.Text())
				}
				if again, err := Translate(snap, q); err != nil || again.Text() != out.Text() {
					t.Errorf("%s%s from %s: another time it becomes\n%s", what, tag, from.From, again.Text())
				}
			}
		}
	}
}

// TestTranslateSays: what, and why.
func TestTranslateSays(t *testing.T) {
	snap := translatedSnapshot(t)
	for _, c := range []struct {
		q    Translation
		want []string
	}{
		{Translation{Message: said("INVITE", ""), From: "itsp"}, []string{
			"~ INVITE sip:204@example.com SIP/2.0\n", "+ X-Trunk: itsp\n    why  trunks[itsp].headers.inbound[0]\n", "= Subject: s\n", "= X-Odd: 1\n"}},
		{Translation{Message: said("INVITE", ""), From: "pbx", To: "itsp"}, []string{
			"~ INVITE sip:204@203.0.113.20 SIP/2.0\n", "~ From: <sip:+4930555204@203.0.113.10:5080>", "+ X-Customer: 42\n", "- X-Odd: 1\n    why  does not pass from the PBX to a trunk\n",
			"+ P-Asserted-Identity: <sip:+4930555204@203.0.113.10:5080>\n    why  trunks[itsp].identity\n"}},
		{Translation{Message: said("MESSAGE", ""), From: "phone"}, []string{"from  phone 204@example.com", "- Contact: <sip:204@10.0.0.10>\n    why  belongs to one hop"}},
		{Translation{Message: said("404 INVITE", ";tag=t"), From: "pbx", To: "204"}, []string{
			"~ SIP/2.0 480 Temporarily Unavailable\n    was  SIP/2.0 404 Said\n    why  phones.codes.outbound\n", "+ X-Phone: 1\n"}},
		{Translation{Message: said("603 INVITE", ";tag=t"), From: "itsp"}, []string{"~ SIP/2.0 486 Busy Here\n"}},
		{Translation{Message: said("NOTIFY", ";tag=t"), From: "pbx", To: "204"}, []string{"= Event: dialog\n", "= Subscription-State: active;expires=60\n"}},
		{Translation{Message: said("REGISTER", ""), From: "itsp"}, []string{"REFUSED  405"}},
		{Translation{Message: said("INVITE", ""), From: "10.0.0.10"}, []string{"to    trunk itsp"}},
	} {
		out, err := Translate(snap, c.q)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(out.Text(), want) {
				t.Errorf("%q is missing:\n%s", want, out.Text())
			}
		}
	}
}

// FuzzTranslate: whatever a file holds, it is read or refused.
func FuzzTranslate(f *testing.F) {
	snap := translatedSnapshot(f)
	for _, what := range []string{"INVITE", "BYE", "SUBSCRIBE", "REGISTER", "NOTIFY", "200 INVITE", "401 REGISTER"} {
		for i, tag := range []string{"", ";tag=t"} {
			f.Add(said(what, tag), uint8(i))
		}
	}
	from := []Translation{{From: "itsp"}, {From: "pbx", To: "itsp"}, {From: "pbx", To: "204"}, {From: "phone"}, {}}
	f.Fuzz(func(t *testing.T, raw []byte, who uint8) {
		q := from[int(who)%len(from)]
		q.Message = raw
		if out, err := Translate(snap, q); err == nil && out.Text() == "" {
			t.Error("it says nothing")
		}
	})
}
