package call

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// located is the body of an emergency call: a session description, and where the caller is (RFC 6442 §5.1), in either order.
func located(sdpFirst bool, media string) (kind string, body []byte, pidf string) {
	pidf = "--b1=\r\nContent-Type: application/pidf+xml\r\nContent-ID: <target123@pbx.example.com>\r\nContent-Disposition: by-reference;handling=optional\r\n\r\n" +
		"<?xml version=\"1.0\"?>\r\n<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"pres:target123@pbx.example.com\">\r\n" +
		"<tuple id=\"a\"><status><gp:geopriv><gml:pos>48.2 16.4</gml:pos></gp:geopriv></status></tuple>\r\n</presence>\n\n\r\n"
	description := "--b1=\r\nContent-Type: application/sdp\r\nContent-Disposition: session\r\n\r\n" +
		"v=0\r\no=PBX 1 1 IN IP4 " + media + "\r\ns=PBX\r\nc=IN IP4 " + media + "\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n\r\n"
	parts := description + pidf
	if !sdpFirst {
		parts = pidf + description
	}
	return `multipart/mixed;boundary="b1="`, []byte("preamble\r\n" + parts + "--b1=--\r\nepilogue"), pidf
}

// TestEmergencyBodies: the location of a caller passes byte for byte, with the id by which Geolocation names it; of all parts
// the description alone is written anew.
func TestEmergencyBodies(t *testing.T) {
	for _, sdpFirst := range []bool{true, false} {
		for _, from := range []string{"node1", "itsp1", "phone1"} {
			s := newStage(t, from)
			at := homeOf(s.hop[caller]).Addr().String()
			m := s.request(caller, "INVITE", "", 1, nil)
			kind, body, pidf := located(sdpFirst, at)
			m.Body = body
			for _, h := range []message.Header{
				{Name: "Content-Type", Value: kind}, {Name: "MIME-Version", Value: "1.0"}, {Name: "Geolocation", Value: "<cid:target123@pbx.example.com>"},
				{Name: "Geolocation-Routing", Value: "yes"}, {Name: "Supported", Value: "geolocation-sip"}, {Name: "Priority", Value: "emergency"},
			} {
				m.Add(h.Name, h.Value)
			}
			s.step(s.arrive(caller, m, netip.AddrPort{}))
			to := map[string]string{"node1": "itsp1", "itsp1": "node1", "phone1": "pbx1"}[from]
			s.step(tu.Routed{Hops: []tu.Hop{stageHop(to)}})
			s.step(s.reserved(1))
			if len(s.refs) == 0 {
				t.Fatalf("%s: no INVITE", from)
			}
			out := s.clients[s.refs[len(s.refs)-1]].msg
			checkLocated(t, from, out, body, pidf, kind, at)
			for _, name := range []string{"MIME-Version", "Geolocation", "Geolocation-Routing", "Priority"} {
				was, _ := m.Get(name)
				if is, _ := out.Get(name); is != was {
					t.Errorf("%s: %s is %q, was %q", from, name, is, was)
				}
			}
		}
	}
}

// checkLocated compares what left with what came, outside the description.
func checkLocated(t *testing.T, from string, out *message.Message, body []byte, pidf, kind, at string) {
	t.Helper()
	if is, _ := out.Get("Content-Type"); is != kind {
		t.Errorf("%s: Content-Type %q", from, is)
	}
	if !bytes.Contains(out.Body, []byte(pidf)) {
		t.Errorf("%s: the location has changed:\n%q", from, out.Body)
	}
	cut := func(b []byte) string {
		head, rest, ok := strings.Cut(string(b), "v=0\r\n")
		if !ok {
			t.Fatalf("%s: no description in %q", from, b)
		}
		_, tail, _ := strings.Cut(rest, "\r\n--b1=")
		return head + "…" + tail
	}
	if was, is := cut(body), cut(out.Body); was != is {
		t.Errorf("%s: around the description\n%q\nbecame\n%q", from, was, is)
	}
	description := string(out.Body[bytes.Index(out.Body, []byte("v=0")):])
	description, _, _ = strings.Cut(description, "\r\n--b1=")
	if strings.Contains(description, at) || !strings.Contains(description, "m=audio 30000 ") {
		t.Errorf("%s: the description names the peer:\n%s", from, description)
	}
}
