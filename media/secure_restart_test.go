package media

import (
	"bytes"
	"testing"
)

// A source that begins again with numbers that have been used is heard again after two packets, under indices that have
// not; one that is merely repeated or late is not.
func TestASourceBeginsAgain(t *testing.T) {
	for _, suite := range allSuites {
		g := newGuarded(suite, resume{})
		us := newPlainly(suite, masterOf(ours))
		for _, seq := range []uint16{20000, 50000, 65000, 1000} {
			if v := g.tell(voice(seq, pbxSSRC)); v.Why != Accepted {
				t.Fatal(seq, v.Why)
			}
		}
		for seq := uint16(900); seq < 902; seq++ {
			if v := g.tell(voice(seq, pbxSSRC)); v.Why == Accepted {
				t.Fatalf("%v: %d is sent again", suite, seq)
			}
		}
		if v := g.tell(voice(950, pbxSSRC)); v.Why != Accepted { // late, but never sent
			t.Fatalf("%v: %v", suite, v.Why)
		}
		g.tell(voice(800, pbxSSRC))
		g.tell(voice(801, pbxSSRC))
		for n := range uint16(200) {
			want := us.rtp(shifted(voice(802+n, pbxSSRC), 1001+n), 12, 1)
			if v := g.tell(voice(802+n, pbxSSRC)); v.Why != Accepted || !bytes.Equal(v.Data, want) {
				t.Fatalf("%v: %d: %v", suite, 802+n, v.Why)
			}
		}
	}
}

// shifted is a packet with another sequence number.
func shifted(b []byte, seq uint16) []byte {
	b[2], b[3] = byte(seq>>8), byte(seq)
	return b
}
