package sbc_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat/natlab"
	"sallyport/sbc/api"
	"sallyport/sbc/message"
)

// TestABanByHand ends what its source has begun, and leaves alone what is established.
func TestABanByHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, doorConfig)
		defer d.close()
		token := d.enter(d.phone, "204")
		d.subscribes(d.looks(), d.phone, d.pbx, d.subscription(true, "message-summary", token), false)
		stream := d.dials(phoneAt.Addr())
		defer stream.Close()
		call := func() (invite, arrived *message.Message) {
			invite = withBody(d.phone.asks("INVITE", "204", user("100", "example.com")), sdpAt(phoneAt.Addr(), 4000))
			d.phone.send(phoneSocket, invite)
			return invite, d.pbx.want("INVITE")
		}
		invite, arrived := call()
		d.pbx.reply(arrived, 200, sdpAt(pbxAt.Addr(), 4002))
		a, b := d.ends(d.phone, d.pbx, phoneSocket, invite, arrived, d.phone.want("200 INVITE"))
		d.phone.send(phoneSocket, a.within("ACK", invite.CSeq))
		d.pbx.want("ACK")
		invite, arrived = call()
		d.pbx.reply(arrived, 180, nil)
		d.phone.want("180 INVITE")

		control := d.gate.Control(nil)
		ban := api.Ban{Address: phoneAt.Addr().String(), Comment: "left the firm", By: "uid 0"}
		var refused *api.Error
		if _, err := control.AddBan(d.ctx, ban); !errors.As(err, &refused) || refused.Status != http.StatusConflict || !strings.Contains(err.Error(), "phone 204@example.com") {
			t.Errorf("a ban of all phones: %v", err)
		}
		ban.Force = true
		if _, err := control.AddBan(d.ctx, ban); err != nil {
			t.Fatal(err)
		}
		if !ended(stream) {
			t.Error("its connection stays")
		}
		d.phone.send(phoneSocket, ackOf(invite, d.phone.want("403 INVITE")))
		d.pbx.reply(d.pbx.want("CANCEL"), 200, nil)
		got := d.pbx.want("SUBSCRIBE")
		if value(got, "Expires") != "0" {
			t.Errorf("the PBX is told\n%s", got)
		}
		d.pbx.reply(got, 200, nil)
		d.pbx.reply(arrived, 487, nil)
		d.pbx.want("ACK")
		if got = d.phone.want("NOTIFY"); !strings.HasPrefix(value(got, "Subscription-State"), "terminated") {
			t.Errorf("the phone is told\n%s", got)
		}
		d.phone.reply(got, 200, nil)
		d.phone.send(phoneSocket, d.phone.registers("204", "<sip:204@"+phoneAt.String()+">"))
		d.phone.quiet(time.Second, "200 REGISTER")
		hangup(a, b)
		if got := d.bans(); !slices.Equal(got, []string{"address 198.51.100.7 by uid 0"}) {
			t.Errorf("bans %v", got)
		}
		if err := control.RemoveBan(d.ctx, phoneAt.Addr().String()); err != nil {
			t.Error(err)
		}
		d.enter(d.phone, "204")
	})
}

// TestABanThatWouldShutOutWhomItMustNot is refused with their names, unless it is forced.
func TestABanThatWouldShutOutWhomItMustNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, rewritten(t, labConfig, "    keepalive: { method: none }", "    keepalive: { method: none }\n    sources: [ 203.0.113.20, 203.0.114.9 ]",
			"  domain: example.com", "  domain: example.com\n  sources: [ 10.0.1.7 ]"), natlab.Options{Seed: 1})
		defer l.close()
		control := l.gate.Control(nil)
		for _, tt := range []struct {
			ban   api.Ban
			names string
		}{
			{api.Ban{Address: "203.0.114.9"}, "trunk itsp"}, // it only calls from there
			{api.Ban{Address: "10.0.1.7"}, "the PBX"},
			{api.Ban{Address: providerAt.Addr().String()}, "trunk itsp"},
			{api.Ban{Address: "203.0.113.0/24"}, "trunk itsp"},
			{api.Ban{Address: "10.0.0.0/24"}, "node 10.0.0.10:5060"},
			{api.Ban{Address: "192.0.2.0/24", Session: "192.0.2.77"}, "your own session"},
		} {
			var refused *api.Error
			if _, err := control.AddBan(t.Context(), tt.ban); !errors.As(err, &refused) || refused.Status != http.StatusConflict ||
				!strings.Contains(err.Error(), tt.names) || !strings.Contains(err.Error(), "--force") {
				t.Errorf("%+v: %v", tt.ban, err)
			}
			if len(l.bans()) != 0 {
				t.Fatal(l.bans())
			}
			tt.ban.Force = true
			if _, err := control.AddBan(t.Context(), tt.ban); err != nil {
				t.Errorf("%+v, forced: %v", tt.ban, err)
			}
			if err := control.RemoveBan(t.Context(), tt.ban.Address); err != nil {
				t.Error(err)
			}
		}
		if _, err := control.AddBan(t.Context(), api.Ban{Address: "192.0.2.0/24", Session: "198.51.100.1"}); err != nil {
			t.Errorf("one that hits nobody: %v", err)
		}
		for _, bad := range []api.Ban{{Address: "foo"}, {Address: "192.0.2.1", Port: 5060}, {Address: "192.0.2.1", Session: "here"}, {Address: "0.0.0.0/0"}} {
			var refused *api.Error
			if _, err := control.AddBan(t.Context(), bad); !errors.As(err, &refused) || refused.Status != http.StatusBadRequest || strings.Count(err.Error(), "\n") > 1 {
				t.Errorf("%+v: %v", bad, err)
			}
		}
	})
}

// TestTheBanOfOneUserIsLiftedByHisName, as `sbc why USER` proposes, while that of another one at the same address stays.
func TestTheBanOfOneUserIsLiftedByHisName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, doorConfig)
		defer d.close()
		control := d.gate.Control(nil)
		d.enter(d.phone, "204")
		for i, name := range []string{"215", "216"} {
			bad, nonce := d.wire(netip.AddrPortFrom(phoneAt.Addr(), uint16(5090+i))), ""
			for n := range 5 {
				m := bad.guess(name, nonce)
				nonce = fmt.Sprint("nonce-", name, "-", n)
				d.denies(bad, m, nonce)
			}
		}
		why, err := control.Why(d.ctx, "215")
		for _, part := range []string{
			"\nbanned           from 198.51.100.7 until ", "wrong digest; 4 wrong digest",
			"\nfix              the PBX did not accept the password", "\nfix              then sbc bans remove 215: with a wrong password it is banned anew\n",
		} {
			if err != nil || !strings.Contains(why.Text, part) {
				t.Errorf("%v: no %q in\n%s", err, part, why.Text)
			}
		}
		if err := control.RemoveBan(d.ctx, "215"); err != nil {
			t.Error(err)
		}
		if got := d.bans(); !slices.Equal(got, []string{"user 216@example.com at 198.51.100.7 by evidence"}) {
			t.Errorf("bans %v", got)
		}
		var refused *api.Error
		for _, gone := range []string{"215", "300.1.1.1"} {
			if err := control.RemoveBan(d.ctx, gone); !errors.As(err, &refused) || refused.Status != http.StatusNotFound {
				t.Errorf("%s: %v", gone, err)
			}
		}
	})
}
