package header

import (
	"testing"

	"sallyport/sbc/tu"
)

const (
	asked1  = "INVITE sip:030123@203.0.113.20\nFrom: \"Anna\" <sip:204@example.com>\nTo: <sip:030123@203.0.113.20>\n"
	hidden  = "INVITE sip:030123@203.0.113.20\nFrom: \"Anonymous\" <sip:anonymous@anonymous.invalid>\nTo: <sip:030123@203.0.113.20>\n"
	answer1 = "200 INVITE\nFrom: <sip:204@example.com>\nTo: <sip:030123@example.com>\n"
)

func naming(n tu.Naming) tu.Rules { return tu.Rules{Naming: n} }

func TestIdentity(t *testing.T) {
	fixed := naming(tu.Naming{
		From: tu.IdentityFixed, FromFixed: name(`"Example" <sip:+4930555@gw.example>`), Asserted: tu.IdentityFixed, AssertedFixed: name("<sip:+4930555@gw.example>"),
	})
	form := func(f tu.IdentityForm) tu.Rules { return naming(tu.Naming{Asserted: f}) }
	for _, e := range []effect{
		{what: "nothing said, nothing changed", in: asked1 + "P-Asserted-Identity: <sip:1@x>\nPrivacy: id\nIdentity: e", want: asked1 + "P-Asserted-Identity: <sip:1@x>\nPrivacy: id\nIdentity: e"},
		{what: "fixed names", rules: fixed, in: asked1 + "P-Asserted-Identity: <sip:204@x>\nRemote-Party-ID: <sip:204@x>\nContact: <sip:204@h>",
			want: "INVITE sip:030123@203.0.113.20\nFrom: \"Example\" <sip:+4930555@gw.example>\nTo: <sip:030123@203.0.113.20>\nContact: <sip:+4930555@h>\nP-Asserted-Identity: <sip:+4930555@gw.example>"},
		{what: "the account in From, the caller asserted", rules: naming(tu.Naming{From: tu.IdentityFixed, FromFixed: name("<sip:account@gw.example>"), Asserted: tu.IdentityAsserted}),
			in: asked1, want: "INVITE sip:030123@203.0.113.20\nFrom: <sip:account@gw.example>\nTo: <sip:030123@203.0.113.20>\nP-Asserted-Identity: \"Anna\" <sip:204@example.com>"},
		{what: "who hides stays hidden", rules: fixed, in: hidden + "Privacy: id", want: hidden + "Privacy: id\nP-Asserted-Identity: <sip:+4930555@gw.example>"},
		{what: "a fixed name stands in a re-INVITE only where there was one", rules: fixed, in: "INVITE sip:1@x\nTo: <sip:2@x>;tag=t",
			want: "INVITE sip:1@x\nFrom: <sip:204@example.com>\nTo: <sip:2@x>"},
		{what: "what the provider sends has its own names", rules: fixed, inbound: true, in: asked1, want: asked1},
		{what: "remove From", rules: naming(tu.Naming{From: tu.IdentityRemove}), in: asked1 + "Contact: <sip:204@h>", want: hidden + "Contact: <sip:anonymous@h>"},
		{what: "remove From within a dialog", rules: naming(tu.Naming{From: tu.IdentityRemove}), in: "BYE sip:1@x\nTo: <sip:2@x>;tag=t",
			want: "BYE sip:1@x\nFrom: <sip:204@example.com>\nTo: <sip:2@x>"},
		{what: "remove asserted", rules: form(tu.IdentityRemove), in: asked1 + "P-Asserted-Identity: <sip:1@x>\nP-Preferred-Identity: <sip:1@x>\nRemote-Party-ID: <sip:1@x>", want: asked1},
		{what: "remove asserted of the provider", rules: form(tu.IdentityRemove), inbound: true, in: asked1 + "P-Asserted-Identity: <sip:1@x>", want: asked1},
		{what: "RPID as PAI", rules: form(tu.IdentityAsserted), in: asked1 + `Remote-Party-ID: "A" <sip:1@x>;party=calling;privacy=off`, want: asked1 + `P-Asserted-Identity: "A" <sip:1@x>`},
		{what: "PPI as PAI", rules: form(tu.IdentityAsserted), in: asked1 + "P-Preferred-Identity: <sip:1@x>", want: asked1 + "P-Asserted-Identity: <sip:1@x>"},
		{what: "both values", rules: form(tu.IdentityAsserted), in: asked1 + "P-Asserted-Identity: <sip:1@x>, <tel:1>", want: asked1 + "P-Asserted-Identity: <sip:1@x>, <tel:1>"},
		{what: "PAI as PPI", rules: form(tu.IdentityPreferred), in: asked1 + "P-Asserted-Identity: <sip:1@x>, <tel:1>", want: asked1 + "P-Preferred-Identity: <sip:1@x>"},
		{what: "PAI as RPID", rules: form(tu.IdentityRemote), in: asked1 + "P-Asserted-Identity: <sip:1@x>", want: asked1 + "Remote-Party-ID: <sip:1@x>;party=calling;privacy=off;screen=yes"},
		{what: "PAI as RPID, hidden", rules: form(tu.IdentityRemote), in: asked1 + "Privacy: id\nP-Asserted-Identity: <sip:1@x>",
			want: asked1 + "Privacy: id\nRemote-Party-ID: <sip:1@x>;party=calling;privacy=full;screen=yes"},
		{what: "PAI as RPID in a response", rules: form(tu.IdentityRemote), in: "200 INVITE\nP-Asserted-Identity: <sip:1@x>",
			want: answer1 + "Remote-Party-ID: <sip:1@x>;party=called;privacy=off;screen=yes"},
		{what: "RPID of the provider", rules: form(tu.IdentityRemote), inbound: true, in: asked1 + "Remote-Party-ID: <sip:1@x>;party=calling;privacy=full", want: asked1 + "P-Asserted-Identity: <sip:1@x>\nPrivacy: id"},
		{what: "RPID beside PAI", rules: form(tu.IdentityRemote), inbound: true, in: asked1 + "P-Asserted-Identity: <sip:2@x>\nRemote-Party-ID: <sip:1@x>", want: asked1 + "P-Asserted-Identity: <sip:2@x>\nRemote-Party-ID: <sip:1@x>"},
		{what: "RPID of the other party", rules: form(tu.IdentityAsserted), in: asked1 + "Remote-Party-ID: <sip:9@x>;party=called\nP-Preferred-Identity: <sip:1@x>", want: asked1 + "P-Asserted-Identity: <sip:1@x>"},
		{what: "made of From", rules: form(tu.IdentityAsserted), in: asked1, want: asked1 + "P-Asserted-Identity: \"Anna\" <sip:204@example.com>"},
		{what: "not of nobody", rules: form(tu.IdentityAsserted), in: hidden, want: hidden},
		{what: "nor in a response", rules: form(tu.IdentityAsserted), in: "200 INVITE", want: answer1},
		{what: "what cannot be read is not asserted", rules: form(tu.IdentityAsserted), in: hidden + "P-Asserted-Identity: <sip:1@x", want: hidden + "P-Asserted-Identity: <sip:1@x"},
		{what: "no signature", rules: naming(tu.Naming{STIR: tu.IdentityRemove}), in: asked1 + "Identity: e\nDate: d", want: asked1 + "Date: d"},
		{what: "no signature of the provider", rules: naming(tu.Naming{STIR: tu.IdentityRemove}), inbound: true, in: asked1 + "Identity: e", want: asked1},
		{what: "a signature over another name", rules: form(tu.IdentityAsserted), in: asked1 + "Identity: e", want: asked1 + "P-Asserted-Identity: \"Anna\" <sip:204@example.com>"},
	} {
		e.check(t)
	}
}

// TestPrivacy: what a caller asks for is done where a message leaves for somebody who is not trusted, and nowhere before.
func TestPrivacy(t *testing.T) {
	apply := naming(tu.Naming{Privacy: tu.IdentityRemove})
	const fields = "P-Asserted-Identity: <sip:1@x>\nSubject: s\nCall-Info: <http://x>\nHistory-Info: <sip:2@x>;index=1\nDiversion: <sip:2@x>\nIdentity: e\n"
	for _, e := range []effect{
		{what: "id", rules: apply, in: asked1 + "Privacy: id\n" + fields, want: hidden + "Subject: s\nCall-Info: <http://x>\nHistory-Info: <sip:2@x>;index=1\nDiversion: <sip:2@x>"},
		{what: "user", rules: apply, in: asked1 + "Privacy: user\n" + fields, want: hidden + "History-Info: <sip:2@x>;index=1\nDiversion: <sip:2@x>"},
		{what: "header", rules: apply, in: asked1 + "Privacy: header\n" + fields, want: asked1 + "P-Asserted-Identity: <sip:1@x>\nSubject: s\nCall-Info: <http://x>\nIdentity: e"},
		{what: "session", rules: apply, in: asked1 + "Privacy: session", want: asked1},
		{what: "history", rules: apply, in: asked1 + "Privacy: history\nHistory-Info: <sip:2@x>;index=1", want: asked1},
		{what: "all", rules: apply, in: asked1 + "Privacy: header;user, session ;ID;critical\n" + fields, want: hidden},
		{what: "none", rules: apply, in: asked1 + "Privacy: none\n" + fields, want: asked1 + "Privacy: none\n" + fields},
		{what: "what nobody has heard of", rules: apply, in: asked1 + "Privacy: id;x-new;critical", want: hidden + "Privacy: x-new;critical"},
		{what: "nothing asked", rules: apply, in: asked1 + fields, want: asked1 + fields},
		{what: "a trusted provider does it", in: asked1 + "Privacy: id\nP-Asserted-Identity: <sip:1@x>", want: asked1 + "Privacy: id\nP-Asserted-Identity: <sip:1@x>"},
		{what: "the PBX is trusted", rules: apply, inbound: true, in: asked1 + "Privacy: id\nP-Asserted-Identity: <sip:1@x>", want: asked1 + "Privacy: id\nP-Asserted-Identity: <sip:1@x>"},
		{what: "a phone never is", toPhone: true, in: asked1 + "Contact: <sip:204@h>\nPrivacy: id\nP-Asserted-Identity: <sip:1@x>\nRemote-Party-ID: <sip:1@x>", want: hidden + "Contact: <sip:anonymous@h>"},
		{what: "in a response", toPhone: true, in: "200 INVITE\nPrivacy: id\nP-Asserted-Identity: <sip:1@x>", want: answer1},
		{what: "within a dialog", toPhone: true, in: "UPDATE sip:1@x\nTo: <sip:2@x>;tag=t\nPrivacy: id\nP-Asserted-Identity: <sip:1@x>",
			want: "UPDATE sip:1@x\nFrom: <sip:204@example.com>\nTo: <sip:2@x>"},
		{what: "entries that ask for it", toPhone: true,
			in: asked1 + `Remote-Party-ID: <sip:1@x>;party=calling;privacy=full
				Diversion: "B" <sip:2@x>;reason=user-busy;privacy=full, <sip:3@x>;privacy=off
				History-Info: <sip:4@x?Privacy=history>;index=1, <sip:5@x;cause=302?Privacy=history>;index=1.1, <sip:6@x?Privacy=none>;index=1.1.1`,
			want: asked1 + `Diversion: <sip:anonymous@anonymous.invalid>;reason=user-busy;privacy=full, <sip:3@x>;privacy=off
				History-Info: <sip:anonymous@anonymous.invalid>;index=1, <sip:anonymous@anonymous.invalid;cause=302>;index=1.1, <sip:6@x?Privacy=none>;index=1.1.1`},
		{what: "entries that cannot be read", toPhone: true, in: asked1 + "Diversion: <sip:2@x;privacy=full", want: asked1},
		{what: "entries to a trusted provider", in: asked1 + "Diversion: <sip:2@x>;privacy=full", want: asked1 + "Diversion: <sip:2@x>;privacy=full"},
		{what: "one name for everybody", rules: naming(tu.Naming{Privacy: tu.IdentityRemove, Asserted: tu.IdentityFixed, AssertedFixed: name("<sip:+49@x>")}),
			in: asked1 + "Privacy: id\nP-Asserted-Identity: <sip:1@x>", want: hidden + "P-Asserted-Identity: <sip:+49@x>"},
	} {
		e.check(t)
	}
}

// TestDiversion: RFC 7544 in both directions. The examples are those of its §7, with today's spelling.
func TestDiversion(t *testing.T) {
	form := func(f tu.DiversionForm) tu.Rules { return naming(tu.Naming{Diversion: f}) }
	const (
		diversion = "Diversion: <sip:u3@x>;reason=unconditional;counter=1;privacy=off, <sip:u2@x>;reason=user-busy;counter=1;privacy=full, <sip:u1@x>;reason=no-answer;counter=1;privacy=off\n"
		history   = "History-Info: <sip:u1@x>;index=1, <sip:u2@x;cause=408?Privacy=history>;index=1.1;mp=1, <sip:u3@x;cause=486>;index=1.1.1;mp=1.1, <sip:030123@203.0.113.20;cause=302>;index=1.1.1.1;mp=1.1.1\n"
	)
	for _, e := range []effect{
		{what: "pass", in: asked1 + diversion + history, want: asked1 + diversion + history},
		{what: "remove", rules: form(tu.DiversionRemove), in: asked1 + diversion + history, want: asked1},
		{what: "remove, of the provider", rules: form(tu.DiversionRemove), inbound: true, in: asked1 + diversion, want: asked1},
		{what: "as History-Info", rules: form(tu.DiversionHistory), in: asked1 + diversion, want: asked1 + history},
		{what: "as Diversion", rules: form(tu.DiversionField), in: asked1 + history, want: asked1 + diversion},
		{what: "it is there already", rules: form(tu.DiversionField), in: asked1 + "Diversion: <sip:9@x>\n" + history, want: asked1 + "Diversion: <sip:9@x>\n"},
		{what: "the PBX gets both", rules: form(tu.DiversionHistory), inbound: true, in: asked1 + history, want: asked1 + history + diversion},
		{what: "the PBX gets both, the other way", rules: form(tu.DiversionField), inbound: true, in: asked1 + diversion, want: asked1 + diversion + history},
		{what: "several fields", rules: form(tu.DiversionHistory), in: asked1 + "Diversion: <sip:2@x>;reason=unavailable\nDiversion: <tel:1>;reason=\"do-not-disturb\"",
			want: asked1 + "History-Info: <tel:1>;index=1, <sip:2@x;cause=404>;index=1.1;mp=1, <sip:030123@203.0.113.20;cause=503>;index=1.1.1;mp=1.1"},
		{what: "a history without a diversion", rules: form(tu.DiversionField), in: asked1 + "History-Info: <sip:1@x>;index=1, <sip:2@x>;index=1.1", want: asked1},
		{what: "a deflection", rules: form(tu.DiversionField), in: asked1 + "History-Info: <sip:1@x>;index=1, <sip:2@x;cause=487>;index=1.1",
			want: asked1 + "Diversion: <sip:1@x>;reason=deflection;counter=1;privacy=off"},
		{what: "an unknown cause", rules: form(tu.DiversionField), in: asked1 + "History-Info: <sip:1@x>;index=1, <sip:2@x;cause=380>;index=1.1",
			want: asked1 + "Diversion: <sip:1@x>;reason=unknown;counter=1;privacy=off"},
		{what: "not within a dialog", rules: form(tu.DiversionHistory), in: "INVITE sip:1@x\nTo: <sip:2@x>;tag=t\nDiversion: <sip:1@x>",
			want: "INVITE sip:1@x\nFrom: <sip:204@example.com>\nTo: <sip:2@x>"},
	} {
		e.check(t)
	}
}
