//go:build interop

package interop

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// descriptions are the texts of SDES that an address sends, as tshark reads them in what a host or side has captured.
func (w *world) descriptions(t *testing.T, all []packet, at, from string) (texts []string) {
	t.Helper()
	var args []string
	for _, p := range choose(all, packet.rtcp, on(at)) {
		if as := fmt.Sprintf("udp.port==%d,rtcp", p.src.Port()); p.src.Addr().String() == from && !slices.Contains(args, as) {
			args = append(args, "-d", as)
		}
	}
	args = append(args, "-e", "rtcp.sdes.text")
	for _, f := range fields(t, filepath.Join(w.dir, at+".pcapng"), "rtcp.sdes.text && ip.src == "+from, args...) {
		texts = append(texts, strings.Split(f[0], ",")...)
	}
	return texts
}

// unnamed checks that RTCP of a phone tells the PBX of one participant, and nothing of what the phone says of itself.
func (w *world) unnamed(t *testing.T, all []packet, x extension) {
	t.Helper()
	said, told := w.descriptions(t, all, x.ns, x.address), w.descriptions(t, all, nsInside, gateInside)
	t.Logf("the phone says %q, the PBX hears %q", said, told)
	if len(said) == 0 || len(told) == 0 {
		t.Error("nobody describes himself")
	}
	for _, p := range choose(all, packet.rtcp, on(nsInside)) {
		for _, text := range said {
			if p.src.Addr().String() == gateInside && bytes.Contains(p.payload, []byte(text)) {
				t.Errorf("%q in %q", text, p.payload)
			}
		}
	}
	slices.Sort(told)
	if told = slices.Compact(told); len(told) > 1 {
		t.Errorf("one phone is %q", told)
	}
}
