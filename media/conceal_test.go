package media_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	pionrtcp "github.com/pion/rtcp"
	"github.com/pion/srtp/v3"

	"sallyport/media"
	"sallyport/nat"
)

// callKey is the key of a call's CNAMEs.
var callKey = media.CNAMEKey([]byte("0123456789abcdef"))

// described is a compound packet of a machine that tells all about itself.
func described(ssrc uint32, cname string) []byte {
	return must(pionrtcp.Marshal([]pionrtcp.Packet{
		&pionrtcp.SenderReport{SSRC: ssrc, RTPTime: 9, Reports: []pionrtcp.ReceptionReport{{SSRC: 1}}, ProfileExtensions: []byte("10.20.30")},
		&pionrtcp.SourceDescription{Chunks: []pionrtcp.SourceDescriptionChunk{{Source: ssrc, Items: []pionrtcp.SourceDescriptionItem{
			{Type: pionrtcp.SDESTool, Text: "Asterisk PBX 18.2"}, {Type: pionrtcp.SDESCNAME, Text: cname},
			{Type: pionrtcp.SDESEmail, Text: "reception@example.com"},
		}}}},
		&pionrtcp.Goodbye{Sources: []uint32{ssrc}, Reason: "restart of 10.20.30.40"},
	}))
}

// anonymous checks what has become of it, and returns the CNAME.
func anonymous(t *testing.T, ssrc uint32, got []byte) string {
	t.Helper()
	list := read(t, got)
	if len(list) != 3 {
		t.Fatalf("%v", list)
	}
	sr, _ := list[0].(*pionrtcp.SenderReport)
	d, _ := list[1].(*pionrtcp.SourceDescription)
	bye, _ := list[2].(*pionrtcp.Goodbye)
	if sr == nil || sr.SSRC != ssrc || sr.RTPTime != 9 || len(sr.Reports) != 1 || len(sr.ProfileExtensions) > 0 ||
		bye == nil || len(bye.Sources) != 1 || bye.Sources[0] != ssrc || bye.Reason != "" ||
		d == nil || len(d.Chunks) != 1 || d.Chunks[0].Source != ssrc || len(d.Chunks[0].Items) != 1 || d.Chunks[0].Items[0].Type != pionrtcp.SDESCNAME {
		t.Fatalf("%v", list)
	}
	for _, text := range []string{"10.20", "pbx", "Asterisk", "example", "restart"} {
		if bytes.Contains(got, []byte(text)) {
			t.Errorf("%s in %q", text, got)
		}
	}
	return d.Chunks[0].Items[0].Text
}

// Over each back end, plain and on the port of RTP, in both directions, RTCP tells neither peer who the other one is. The names that
// stand for them are the same over the loss of the media process.
func TestConcealOverBackends(t *testing.T) {
	names := map[string]string{}
	for name, rigOf := range map[string]func(*testing.T) *rig{"sim": simRig, "epoll": epollRig, "steer": steerRig, "process": processRig} {
		for _, mux := range []bool{false, true} {
			t.Run(name+map[bool]string{true: " with mux"}[mux], func(t *testing.T) {
				r := rigOf(t)
				own := func(w *media.Want) { w.CNAMEs, w.Mux = callKey, mux }
				r.point(nat.Outside, with(want("phone"), own))
				r.point(nat.Inside, with(want("pbx"), own))
				for range 2 {
					for n, from := range []string{"phone", "pbx"} {
						to, door, cname := "pbx", outsideRTP, "alice@192.168.1.17"
						if n == 1 {
							to, door, cname = "phone", insideRTP, "pbx@10.20.30.40"
						}
						if !mux {
							from, to, door.rtcp = from+" rtcp", to+" rtcp", 1
						}
						r.send(from, r.at(door), described(7, cname))
						_, got := r.next(to)
						alias := anonymous(t, 7, got)
						if names[cname] == "" {
							names[cname] = alias
						}
						if alias != names[cname] || strings.Contains(cname, alias) {
							t.Errorf("%s is %q, and was %q", cname, alias, names[cname])
						}
					}
					if r.renew == nil {
						break
					}
					r.renew()
				}
			})
		}
	}
}

// learnsNothing has the PBX describe itself to the browser.
func (b *browser) learnsNothing(r *rig, hear *srtp.Context) {
	b.t.Helper()
	r.send("pbx rtcp", r.at(insideRTCP), described(8, "pbx@10.20.30.40"))
	select {
	case p := <-b.media:
		opened, err := hear.DecryptRTCP(nil, p, nil)
		if err != nil {
			b.t.Fatal(err)
		}
		anonymous(b.t, 8, opened)
	case <-time.After(soon):
		b.t.Fatal("the browser hears of nobody")
	}
}

// What has been rewritten for a peer and what it is not to know go together: the description is of the SSRC that the peer hears.
func TestConcealOfAnotherVoice(t *testing.T) {
	b, _, _, legs := bareCall(t, with(public(media.Off), func(w *media.Want) { w.Continuous = true }),
		with(insideWant(), func(w *media.Want) { w.Continuous, w.CNAMEs = true, callKey }))
	for _, v := range []voice{{ssrc: 1, seq: 5}, {ssrc: 2, seq: 900}} {
		if got := b.engine.Packet(b.now, legs[nat.Inside], media.EndpointOf(pbx), v.next()); got.Why != media.Accepted {
			t.Fatal(got.Why)
		}
	}
	buf := must(pionrtcp.Marshal([]pionrtcp.Packet{
		&pionrtcp.ReceiverReport{SSRC: 2},
		&pionrtcp.SourceDescription{Chunks: []pionrtcp.SourceDescriptionChunk{{Source: 2, Items: []pionrtcp.SourceDescriptionItem{{Type: pionrtcp.SDESCNAME, Text: "pbx@10.20.30.40"}}}}},
		&pionrtcp.ApplicationDefined{SSRC: 2, Name: "host", Data: []byte("10.20.30.40!")},
	}))
	got := b.engine.Packet(b.now, legs[nat.Inside]+1, media.EndpointOf(pbxRTCP), append(make([]byte, 0, len(buf)+media.Tailroom), buf...))
	if got.Why != media.Accepted {
		t.Fatal(got.Why)
	}
	list := read(t, got.Data)
	if d, _ := list[len(list)-1].(*pionrtcp.SourceDescription); len(list) != 2 || d == nil || d.Chunks[0].Source != 1 || bytes.Contains(got.Data, []byte("10.2")) {
		t.Errorf("%v", list)
	}
}
