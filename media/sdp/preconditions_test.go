package sdp

import (
	"strings"
	"testing"
)

func TestDropPreconditions(t *testing.T) {
	const head = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
	for _, x := range []struct{ in, want string }{
		{"m=audio 4000 RTP/AVP 0\r\n", "m=audio 4000 RTP/AVP 0\r\n"},
		{
			"m=audio 4000 RTP/AVP 0\r\na=curr:qos local none\r\na=curr:qos remote none\r\na=des:qos mandatory local sendrecv\r\na=conf:qos remote sendrecv\r\na=ptime:20\r\n",
			"m=audio 4000 RTP/AVP 0\r\na=ptime:20\r\n",
		},
		{"a=Curr:qos e2e none\r\nm=audio 4000 RTP/AVP 0\r\na=DES:qos optional e2e sendrecv\r\n", "m=audio 4000 RTP/AVP 0\r\n"},
		{"m=audio 4000 RTP/AVP 0\r\na=current:qos\r\na=confusion:1\r\na=describe\r\n", "m=audio 4000 RTP/AVP 0\r\na=current:qos\r\na=confusion:1\r\na=describe\r\n"},
		{"m=audio 4000 RTP/AVP 0\r\na=curr\r\nm=video 4002 RTP/AVP 97\r\na=des:qos none local send\r\na=sendonly\r\n", "m=audio 4000 RTP/AVP 0\r\nm=video 4002 RTP/AVP 97\r\na=sendonly\r\n"},
	} {
		s, err := Parse([]byte(head + x.in))
		if err != nil {
			t.Fatalf("%q: %v", x.in, err)
		}
		s.DropPreconditions()
		if got := strings.TrimPrefix(string(s.Bytes()), head); got != x.want {
			t.Errorf("%q became %q, want %q", x.in, got, x.want)
		}
	}
}
