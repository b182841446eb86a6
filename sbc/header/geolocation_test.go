package header

import (
	"strings"
	"testing"

	"sallyport/nat"
	"sallyport/sbc/message"
)

// TestGeolocationNamesItsPart: "The cid-url … is the Content-ID of the body part" (RFC 6442 §4.1). Where the guard repairs a host in
// one of the two, it does so in the other; where there is none, not a byte changes.
func TestGeolocationNamesItsPart(t *testing.T) {
	for host, leaks := range map[string]bool{"pbx.example.net": false, "10.0.0.10": true, "198.51.100.77": false} {
		body := "--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\no=- 1 1 IN IP4 203.0.113.10\r\ns=-\r\nc=IN IP4 203.0.113.10\r\nt=0 0\r\n\r\n" +
			"--b\r\nContent-Type: application/pidf+xml\r\nContent-ID: <t1@" + host + ">\r\n\r\n<presence entity=\"pres:t1@" + host + "\"/>\r\n--b--\r\n"
		m := sheet(t, invite)
		m.Via[0].Host = "198.51.100.5"
		m.Headers = []message.Header{{Name: "Geolocation", Value: "<cid:t1@" + host + ">"}, {Name: "Content-Type", Value: "multipart/mixed; boundary=b"}}
		m.Body = []byte(body)
		hits, ok := testGuard().Check(nat.Outside, m, nil)
		if !ok || (hits > 0) != leaks || !leaks && string(m.Body) != body {
			t.Errorf("%s: %d hits, %v\n%s", host, hits, ok, m.Body)
		}
		cid, _ := m.Get("Geolocation")
		cid = strings.TrimSuffix(strings.TrimPrefix(cid, "<cid:"), ">")
		if !strings.Contains(string(m.Body), "Content-ID: <"+cid+">\r\n") || leaks && strings.Contains(m.String(), host) {
			t.Errorf("%s: nobody finds %s\n%s", host, cid, m.Body)
		}
	}
}
