package registrar

import (
	"strings"
	"testing"

	"sallyport/sbc/message"
	"sallyport/sbc/scan"
	"sallyport/sbc/tu"
)

// parsed is a REGISTER with these fields as the reader would hand it on, or nil if it would not.
func parsed(contact, expires, callID, rest string) *message.Message {
	text := "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.1.20:5060;branch=z9hG4bKfuzz;rport\r\nMax-Forwards: 70\r\n" +
		"From: <sip:204@example.com>;tag=f1\r\nTo: <sip:204@example.com>\r\nCall-ID: " + callID + "\r\nCSeq: 7 REGISTER\r\n"
	for name, v := range map[string]string{"Contact": contact, "Expires": expires} {
		if v != "" {
			text += name + ": " + v + "\r\n"
		}
	}
	text += rest + "Content-Length: 0\r\n\r\n"
	var v scan.View
	if scan.Scan([]byte(text), &v) != nil {
		return nil
	}
	m, err := message.Parse([]byte(text), &v)
	if err != nil || m.Method != "REGISTER" {
		return nil
	}
	return m
}

// FuzzRegister sends any Contact and Expires twice, as two REGISTERs of one phone. Whatever they are: each ends with one
// answer, what goes in is a REGISTER that can be read and names our tokens alone, what comes back are the phone's Contacts as
// it wrote them, and the Book's indices agree.
func FuzzRegister(f *testing.F) {
	for _, contact := range []string{
		"<sip:204@192.168.1.20:5060>", "*", "", "sip:204@192.168.1.20;expires=60", `"A, B" <sip:204@x;ob>;q=0.5;expires=0;+sip.instance="<urn:uuid:1>"`,
		"<sip:a@x>;expires=0,<sip:b@x>", "<sip:a@x>;expires=99999999999,<sip:a@x;transport=tcp>,<sip:a@X>", "<tel:1>", "<sip:@x>", "<sips:x?a=b>",
		`<sip:a@x>;methods="INVITE\";q=1"`, "<sip:a@x> ; Expires = 5 ; Q=1", "<sip:a@x>;+sip.instance=x,<sip:b@x>;+sip.instance=x", "<sip:a@x>;tag=1;tag=2",
		"<sip:0123456789abcdef@x>;audio;+a;;b", "<sip:a@[::1]:5060;ob>;reg-id=1",
	} {
		f.Add(contact, "3600", "call-1@192.168.1.20", contact)
		f.Add(contact, "0", "c", "<sip:204@198.51.100.7:40122>")
	}
	f.Fuzz(func(t *testing.T, contact, expires, callID, again string) {
		s := newStage(t)
		p := s.phones["a"]
		for _, c := range []string{contact, again} {
			m := parsed(c, expires, callID, "")
			if m == nil {
				continue
			}
			r, do := s.start(p, m, nil)
			if !r.over {
				s.step(r, tu.Routed{Hops: []tu.Hop{nodeHop("10.0.0.10:5060")}})
				inside(t, s, r)
				do = s.step(r, s.grant(r, r.last, 600))
			}
			if !r.over {
				t.Fatal("it goes on")
			}
			for _, a := range do {
				if a, ok := a.(tu.Respond); ok {
					echoes(t, m, a.Msg)
				}
			}
			consistent(t, s.set.Book)
			for b := range s.set.Book.All {
				raw, err := b.MarshalBinary()
				if err != nil {
					t.Fatal(err)
				}
				if err := new(Binding).UnmarshalBinary(raw); err != nil {
					t.Fatalf("%+v cannot be read again: %v", b, err)
				}
			}
		}
	})
}

// inside looks at what goes to the PBX.
func inside(t *testing.T, s *stage, r *run) {
	out := r.sent[r.last].Msg
	list, star, err := out.Contacts()
	if err != nil || star != r.wish.star {
		t.Fatalf("%v\n%s", err, out)
	}
	seen := map[string]bool{}
	for _, c := range list {
		if u := c.URI; len(u.User) != 16 || seen[u.User] || u.Host != "10.0.0.2" || u.Params != "" || c.Display != "" {
			t.Fatalf("contact %s", c)
		}
		seen[c.URI.User] = true
		for _, never := range []string{"reg-id", "ob", "pub-gruu", "received"} {
			if _, has := c.Param(never); has {
				t.Fatalf("contact %s", c)
			}
		}
	}
}

// echoes holds the Contacts of an answer to those that were sent.
func echoes(t *testing.T, req, answer *message.Message) {
	sent, _, err := req.Contacts()
	if err != nil {
		return
	}
	back, star, err := answer.Contacts()
	if err != nil || star {
		t.Fatalf("%v\n%s", err, answer)
	}
	for _, c := range back {
		found := false
		for _, x := range sent {
			found = found || x.URI == c.URI && x.Display == c.Display
		}
		if v, ok := c.Param("expires"); !ok || strings.Trim(v, "0123456789") != "" || seconds(v) == 0 || seconds(v) > 60 {
			t.Fatalf("contact %s", c)
		}
		if !found && len(sent) > 0 && answer.Status != 200 {
			t.Fatalf("%s was never sent", c)
		}
	}
}

// FuzzAnswer gives any Contact, Expires and challenge in an answer of the PBX, which is believed and not trusted to be well
// formed.
func FuzzAnswer(f *testing.F) {
	f.Add(200, "<sip:x@10.0.0.2>;expires=60", "3600", "Digest nonce=\"a\"")
	f.Add(401, "*", "x", "Digest realm=\"a\", nonce=\"0123abcd\", qop=\"auth,auth-int\"")
	f.Add(404, "<", "", "nonce=\"")
	f.Add(299, "<sip:x>,,", "4294967296", "")
	f.Fuzz(func(t *testing.T, status int, contact, expires, challenge string) {
		if status < 200 || status > 699 || strings.ContainsAny(contact+expires+challenge, "\r\n\x00") {
			return
		}
		for _, c := range []string{contact, expires, challenge} {
			for i := range len(c) {
				if c[i] < ' ' && c[i] != '\t' {
					return // the parser lets none of these in
				}
			}
		}
		s := newStage(t)
		for range 2 {
			r, _ := s.start(s.phones["a"], s.phones["a"].request(), nil)
			s.step(r, tu.Routed{Hops: []tu.Hop{nodeHop("10.0.0.10:5060")}})
			m := message.Reply(r.sent[1].Msg, status, "")
			m.Headers = []message.Header{{Name: "Contact", Value: contact}, {Name: "Expires", Value: expires}, {Name: "WWW-Authenticate", Value: challenge}}
			s.step(r, tu.Answered{Ref: 1, Msg: m})
			if !r.over {
				t.Fatal("it goes on")
			}
			consistent(t, s.set.Book)
		}
	})
}
