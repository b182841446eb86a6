//go:build linux

package steer

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"sallyport/media"
)

// TestASideWithBothFamiliesIsNotSteered: whoever may choose takes media/epoll.
func TestASideWithBothFamiliesIsNotSteered(t *testing.T) {
	four, six := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	layout := media.Layout{Addresses: [2]netip.Addr{four, four}, First: 2, Pairs: 1, Blocks: 1}
	layout.Others[0] = six
	_, err := New(Options{}).Open(layout, media.Listener{})
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(Reason(err), "IPv4 and IPv6") {
		t.Errorf("%v", err)
	}
	if Families(netip.Addr{}, netip.Addr{}) != nil || !errors.Is(Families(netip.Addr{}, six), ErrUnavailable) {
		t.Error("the choice does not know")
	}
}
