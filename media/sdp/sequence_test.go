package sdp

import (
	"bytes"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// leg is one side of a call as a B2BUA keeps it: what its peer was told last.
type leg struct {
	addr    netip.Addr
	version uint64
	told    []byte
}

// tell rewrites a description for the leg, with the version of RFC 3264 §8: one more where it differs from the last.
func (l *leg) tell(t *testing.T, in []byte, ports ...uint16) string {
	t.Helper()
	edit := func() []byte {
		s := must(t, in)
		for i := range s.Len() {
			if m := s.At(i); m.Rejected() || ports[i] == 0 {
				s.Reject(i)
			} else {
				s.SetMedia(i, l.addr, ports[i], ports[i]+1)
			}
		}
		s.DropCandidates()
		s.SetOrigin("-", 7, l.version, l.addr)
		return s.Bytes()
	}
	out := edit()
	if l.told != nil && !bytes.Equal(out, l.told) {
		l.version++
		out = edit()
	}
	l.told = out
	return string(out)
}

// TestOfferAnswerSequence walks the patterns of RFC 6337 and RFC 3264 §8 through one call: offer and answer, a refresh
// that changes nothing, hold and resume from either side, hold as RFC 2543 had it, a codec change, an added stream
// that is declined, a switch to fax.
func TestOfferAnswerSequence(t *testing.T) {
	c := corpus(t)
	provider, pbx := &leg{addr: ours, version: 1}, &leg{addr: netip.MustParseAddr("10.0.0.2"), version: 1}
	swap := func(b []byte, pairs ...string) []byte {
		return []byte(strings.NewReplacer(pairs...).Replace(string(b)))
	}
	offer, answer := c["asterisk-offer"], c["cisco-gateway-answer"]
	video := append(bytes.Clone(offer), "m=video 5000 RTP/AVP 96\r\n"...)
	steps := []struct {
		name    string
		to      *leg
		in      []byte
		ports   []uint16
		version string
		want    []string // stand in what the leg is told
	}{
		{"offer", provider, offer, []uint16{30000}, "7 1", []string{"c=IN IP4 198.51.100.5", "m=audio 30000 RTP/AVP 0 8 101", "a=sendrecv"}},
		{"answer", pbx, answer, []uint16{30002}, "7 1", []string{"c=IN IP4 10.0.0.2", "m=audio 30002 RTP/AVP 8 101"}},
		{"refresh", provider, offer, []uint16{30000}, "7 1", nil},
		{"hold by the PBX", provider, swap(offer, "a=sendrecv", "a=sendonly", "1438297104 IN", "1438297105 IN"), []uint16{30000}, "7 2", []string{"a=sendonly"}},
		{"answer to hold", pbx, append(bytes.Clone(answer), "a=recvonly\r\n"...), []uint16{30002}, "7 2", []string{"a=recvonly"}},
		{"resume", provider, swap(offer, "1438297104 IN", "1438297106 IN"), []uint16{30000}, "7 3", []string{"a=sendrecv"}},
		{"answer to resume", pbx, answer, []uint16{30002}, "7 3", nil},
		{"hold by the provider, old style", pbx, swap(answer, "203.0.113.21", "0.0.0.0"), []uint16{30002}, "7 4", []string{"c=IN IP4 0.0.0.0", "m=audio 30002"}},
		{"back", pbx, answer, []uint16{30002}, "7 5", []string{"c=IN IP4 10.0.0.2"}},
		{"codec change", pbx, swap(answer, "8 101", "0 101"), []uint16{30002}, "7 6", []string{"RTP/AVP 0 101"}},
		{"second stream", provider, video, []uint16{30000, 0}, "7 4", []string{"m=audio 30000", "m=video 0 RTP/AVP 96"}},
		{"fax", provider, c["t38-offer"], []uint16{30000}, "7 5", []string{"m=image 30000 udptl t38", "a=T38FaxUdpEC:t38UDPRedundancy"}},
	}
	for _, st := range steps {
		got := st.to.tell(t, st.in, st.ports...)
		for _, w := range append(st.want, "o=- "+st.version+" IN IP4 "+st.to.addr.String(), "s=-\r\n") {
			if !strings.Contains(got, w) {
				t.Errorf("%s: no %q in\n%s", st.name, w, got)
			}
		}
		for h := range addresses([]byte(got)) {
			if a := literal(string(h)); a != st.to.addr && !unspecified(a) {
				t.Errorf("%s: shows %s", st.name, h)
			}
		}
	}
}

func TestHoldInTheOtherFamily(t *testing.T) {
	s := must(t, text("v=0", "c=IN IP6 ::", "m=audio 4000 RTP/AVP 0", "a=rtcp:9 IN IP6 ::", "m=audio 4002 RTP/AVP 0", "c=IN IP6 2001:db8::1"))
	s.SetMedia(0, ours, 30000, 30001)
	s.SetMedia(1, ours, 30002, 30003)
	want := text("v=0", "c=IN IP4 0.0.0.0", "m=audio 30000 RTP/AVP 0", "a=rtcp:30001 IN IP4 0.0.0.0", "m=audio 30002 RTP/AVP 0", "c=IN IP4 198.51.100.5")
	if got := s.Bytes(); !bytes.Equal(got, want) {
		t.Errorf("%s", got)
	}
	s = must(t, text("v=0", "c=IN IP4 0.0.0.0", "m=audio 4000 RTP/AVP 0"))
	s.SetMedia(0, ours6, 30000, 30001)
	if c, _ := s.Connection(); c != "::" {
		t.Errorf("%s", s.Bytes())
	}
	s = must(t, text("v=0", "c=in ip4 0.0.0.0 ", "m=audio 4000 RTP/AVP 0"))
	s.SetMedia(0, ours, 4000, 4001)
	if got := s.Bytes(); !bytes.Equal(got, text("v=0", "c=in ip4 0.0.0.0 ", "m=audio 4000 RTP/AVP 0")) {
		t.Errorf("nothing had to change:\n%s", got)
	}
}

// TestOrderOfEditsDoesNotMatter: streams may be set in any order, and twice.
func TestOrderOfEditsDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := descriptions().Draw(t, "description")
		edit := func(order []int) []byte {
			s := must2(in)
			for _, i := range order {
				if m := s.At(i); !m.Datagram() {
					s.SetMedia(i, ours, 0, 0)
				} else {
					s.SetMedia(i, ours, 30000+2*uint16(i), 30001+2*uint16(i))
				}
			}
			return s.Bytes()
		}
		var order []int
		for i := range must2(in).Len() {
			order = append(order, i)
		}
		straight := edit(order)
		if len(order) > 0 {
			order = append(rapid.Permutation(order).Draw(t, "order"), order...)
		}
		if got := edit(order); !bytes.Equal(got, straight) {
			t.Fatalf("%v:\n%s\nwant\n%s", order, got, straight)
		}
	})
}

// TestEveryLineKeepsItsEnd: no edit changes how the lines end, whatever they end in.
func TestEveryLineKeepsItsEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := string(descriptions().Draw(t, "description"))
		var mixed strings.Builder
		for l := range strings.Lines(in) {
			body := strings.TrimRight(l, "\r\n")
			if body == l {
				mixed.WriteString(l)
				continue
			}
			mixed.WriteString(body + rapid.SampledFrom([]string{"\n", "\r\n"}).Draw(t, "end"))
		}
		s := must2([]byte(mixed.String()))
		ends := map[string][]string{}
		for l := range s.all() {
			ends[l.text] = append(ends[l.text], l.end)
		}
		s.Conceal()
		for l := range s.all() {
			if !slices.Contains(ends[l.text], l.end) {
				t.Fatalf("%q ends in %q, came with %q", l.text, l.end, ends[l.text])
			}
		}
		once := s.Bytes()
		if s.Conceal(); !bytes.Equal(s.Bytes(), once) {
			t.Fatalf("a second Conceal changes it:\n%s", s.Bytes())
		}
	})
}

// naive finds addresses with regular expressions, line by line.
var naive = []*regexp.Regexp{
	regexp.MustCompile(`(?i)^c=\S+\s+\S+\s+([^\s/]+)`),
	regexp.MustCompile(`^o=(?:.*\s)?(\S+)\s*$`),
	regexp.MustCompile(`(?i)^a=rtcp:\s*\S+\s+\S+\s+\S+\s+(\S+)`),
	regexp.MustCompile(`(?i)^a=candidate:\s*(?:\S+\s+){4}(\S+)`),
	regexp.MustCompile(`(?i)^a=candidate:.*\sraddr\s+(\S+)`),
}

func TestAddressesAgreeWithTheNaive(t *testing.T) {
	check := func(in []byte) (got, want []string) {
		for l := range strings.Lines(string(in)) {
			l = strings.TrimRight(l, "\r\n")
			for _, re := range naive {
				if m := re.FindStringSubmatch(l); m != nil {
					want = append(want, m[1])
				}
			}
			if strings.HasPrefix(l, "a=remote-candidates:") {
				want = append(want, strings.Fields(l)[1])
			}
		}
		return hostsOf(in), want
	}
	for name, in := range corpus(t) {
		if got, want := check(in); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		in := descriptions().Draw(t, "description")
		if got, want := check(in); !slices.Equal(got, want) {
			t.Fatalf("%q, want %q", got, want)
		}
	})
	in := corpus(t)["polycom-offer"]
	if n := testing.AllocsPerRun(100, func() {
		for range addresses(in) {
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestFindSDPInGeneratedBodies puts a description among other parts and finds it again, byte for byte.
func TestFindSDPInGeneratedBodies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		desc := descriptions().Draw(t, "description")
		end := rapid.SampledFrom([]string{"\r\n", "\n"}).Draw(t, "line end")
		boundary := rapid.StringMatching(`[0-9A-Za-z'()+_,./:=?-]{1,20}`).Draw(t, "boundary")
		other := rapid.SampledFrom([]string{"text/plain", "application/isup", "application/pidf+xml", ""})
		at := rapid.IntRange(0, 3).Draw(t, "place")
		var b strings.Builder
		b.WriteString(rapid.SampledFrom([]string{"", "preamble" + end}).Draw(t, "preamble"))
		start := -1
		for i := range at + 2 {
			b.WriteString("--" + boundary + rapid.SampledFrom([]string{"", " "}).Draw(t, "padding") + end)
			switch {
			case i == at:
				b.WriteString("Content-Type: application/sdp" + end + end)
				start = b.Len()
				b.Write(desc)
			default:
				if kind := other.Draw(t, "type"); kind != "" {
					b.WriteString("Content-Type: " + kind + end)
				}
				b.WriteString("X: y" + end + end + "some text")
			}
			b.WriteString(end)
		}
		b.WriteString("--" + boundary + "--" + end)
		body := b.String()
		from, to, ok := FindSDP(`multipart/mixed; boundary="`+boundary+`"`, []byte(body))
		if !ok || from != start || body[from:to] != string(desc) {
			t.Fatalf("%v %d–%d of\n%s", ok, from, to, body)
		}
	})
}

// TestRejectProperties: whatever mixture of streams is carried and declined, in whatever order, nothing of the other
// side shows, each stream keeps its place, and the carried ones keep what describes their codecs.
func TestRejectProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := descriptions().Draw(t, "description")
		s := must2(in)
		var order []int
		for i := range s.Len() {
			order = append(order, i)
		}
		if len(order) > 0 {
			order = rapid.Permutation(order).Draw(t, "order")
		}
		carried := map[int]bool{}
		for _, i := range order {
			if carried[i] = rapid.Bool().Draw(t, "carried"); carried[i] {
				s.SetMedia(i, ours, 30000, 30001)
			} else {
				s.Reject(i)
			}
		}
		s.DropCandidates()
		s.SetOrigin("-", 1, 1, ours)
		out := s.Bytes()
		for h := range addresses(out) {
			if a := literal(string(h)); a != ours && !unspecified(a) {
				t.Fatalf("shows %s:\n%s", h, out)
			}
		}
		again := must2(out)
		if again.Len() != len(order) {
			t.Fatalf("%d streams of %d", again.Len(), len(order))
		}
		for i := range again.Len() {
			was, is := must2(in).At(i), again.At(i)
			if carried[i] == is.Rejected() || !slices.Equal(was.Formats, is.Formats) || was.Proto != is.Proto {
				t.Fatalf("stream %d: %+v, was %+v", i, is, was)
			}
			if carried[i] && !is.Addr.IsValid() {
				t.Fatalf("stream %d has no address:\n%s", i, out)
			}
		}
	})
}
