package sbc_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
)

// TestOldNoncesAreNoGuesses: an office comes back, every phone with the nonce that it had last, and a PBX that has restarted does
// not know them and does not call them stale.
func TestOldNoncesAreNoGuesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, doorConfig)
		defer d.close()
		defer d.asReplayed(doorConfig)()
		for i := range 12 {
			if !d.denies(d.phone, d.phone.guess(fmt.Sprint(300+i), "before"), fmt.Sprint("after-", i)) {
				t.Fatalf("phone %d is not heard; bans: %v", i, d.bans())
			}
		}
	})
}

// TestWhoGuessesUnderOneCallIDIsBanned: each challenge is another one, whatever the request that it answers calls itself.
func TestWhoGuessesUnderOneCallIDIsBanned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, doorConfig)
		defer d.close()
		defer d.asReplayed(doorConfig)()
		bad := d.wire(netip.MustParseAddrPort("192.0.2.66:5062"))
		nonce, tries := "", 0
		for ; tries < 20; tries++ {
			m := bad.guess("204", nonce)
			m.CallID, m.CSeq, m.From.Tag = "one", 1, fmt.Sprint("tag-", tries)
			nonce = fmt.Sprint("nonce-", tries)
			if !d.denies(bad, m, nonce) {
				break
			}
		}
		if tries > 6 || len(d.bans()) != 1 {
			t.Errorf("%d tries, bans: %v", tries, d.bans())
		}
	})
}

// TestHiddenNoncesAreGuesses: credentials that the PBX reads, and we might read in another way, are looked at no less.
func TestHiddenNoncesAreGuesses(t *testing.T) {
	const from, to = `Digest username="204", realm="example.com", `, `, uri="sip:example.com", response="0123456789abcdef0123456789abcdef"`
	const other = `Digest username="204", realm="other", nonce="x", uri="sip:example.com", response="0123456789abcdef0123456789abcdef"`
	for name, credentials := range map[string][]string{
		"in another text":    {from + `opaque=",nonce=", nonce="%s"` + to},
		"spaces":             {from + `nonce = "%s"` + to},
		"a token":            {from + `nonce=%s` + to},
		"the second of two":  {from + `nonce="x", nonce="%s"` + to},
		"other realm first":  {other, from + `nonce="%s"` + to},
		"other realm behind": {from + `nonce="%s"` + to, other},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDoor(t, doorConfig)
				defer d.close()
				defer d.asReplayed(doorConfig)()
				bad := d.wire(netip.MustParseAddrPort("192.0.2.66:5062"))
				nonce, tries := "", 0
				for ; tries < 20; tries++ {
					m := bad.guess("204", "")
					for _, c := range credentials {
						if nonce != "" {
							m.Add("Authorization", strings.ReplaceAll(c, "%s", nonce))
						}
					}
					nonce = fmt.Sprint("nonce-", tries)
					if !d.denies(bad, m, nonce) {
						break
					}
				}
				if bans := d.bans(); tries != 5 || len(bans) != 1 || bans[0] != "address 192.0.2.66 by evidence" {
					t.Errorf("%d tries, bans: %v", tries, bans)
				}
			})
		})
	}
}

// TestASlowedUserCanBeFreed by the name that `sbc why` proposes.
func TestASlowedUserCanBeFreed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, doorConfig)
		defer d.close()
		defer d.asReplayed(doorConfig)()
		control := d.gate.Control(nil)
		for i, from := range []string{"192.0.2.66:5062", "192.0.2.67:5062"} {
			bad, nonce := d.wire(netip.MustParseAddrPort(from)), ""
			for n := range 4 {
				m := bad.guess("204", nonce)
				nonce = fmt.Sprint("nonce-", i, "-", n)
				d.denies(bad, m, nonce)
			}
		}
		if err := control.RemoveBan(d.ctx, "204@example.com"); err != nil {
			t.Error(err)
		}
		if err := control.RemoveBan(d.ctx, "204"); err == nil {
			t.Error("freed twice")
		}
	})
}
