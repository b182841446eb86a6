package resolve

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"sallyport/nat"
)

var all = Transports(0).With(nat.UDP).With(nat.TCP).With(nat.TLS)

// show is an answer in one line: address/transport priority weight.
func show(a Answer) string {
	var out []string
	for _, e := range a.Endpoints {
		out = append(out, fmt.Sprintf("%s/%s %d.%d*%d", e.Address, e.Transport, e.Priority>>16, e.Priority&0xffff, e.Weight))
	}
	return strings.Join(out, ", ")
}

func TestLookup(t *testing.T) {
	srv := Target{Host: "sip.example", V4: true}
	naptr := Target{Host: "sip.example", V4: true, Any: true, Speaks: all}
	for _, tt := range []struct {
		name    string
		target  Target
		records []string
		want    string
		err     string
	}{
		{"a port: addresses alone", Target{Host: "sip.example", Port: 5070, Transport: nat.TCP, V4: true},
			[]string{"sip.example. 60 IN A 192.0.2.1", "_sip._tcp.sip.example. 60 IN SRV 1 1 5060 other.example.", "other.example. 60 IN A 192.0.2.9"},
			"192.0.2.1:5070/tcp 0.0*0", ""},
		{"plain", Target{Host: "sip.example", Plain: true, V4: true, V6: true},
			[]string{"sip.example. 60 IN A 192.0.2.2", "sip.example. 60 IN A 192.0.2.1", "sip.example. 60 IN AAAA 2001:db8::1"},
			"192.0.2.1:0/udp 0.0*0, 192.0.2.2:0/udp 0.0*0, [2001:db8::1]:0/udp 0.0*0", ""},
		{"one family is of use", Target{Host: "sip.example", Plain: true, V6: true},
			[]string{"sip.example. 60 IN A 192.0.2.2", "sip.example. 60 IN AAAA 2001:db8::1"}, "[2001:db8::1]:0/udp 0.0*0", ""},
		{"SRV with priorities and weights", srv,
			[]string{
				"_sip._udp.sip.example. 60 IN SRV 20 0 5060 c.example.", "_sip._udp.sip.example. 60 IN SRV 10 30 5061 b.example.",
				"_sip._udp.sip.example. 60 IN SRV 10 10 5062 a.example.",
				"a.example. 60 IN A 192.0.2.1", "b.example. 60 IN A 192.0.2.2", "b.example. 60 IN A 192.0.2.3", "c.example. 60 IN A 192.0.2.4",
			},
			"192.0.2.1:5062/udp 0.10*2400, 192.0.2.2:5061/udp 0.10*3600, 192.0.2.3:5061/udp 0.10*3600, 192.0.2.4:5060/udp 0.20*0", ""},
		{"no SRV: the host itself", srv, []string{"sip.example. 60 IN A 192.0.2.1"}, "192.0.2.1:5060/udp 0.0*0", ""},
		{"no SRV, TLS: port 5061", Target{Host: "sip.example", Transport: nat.TLS, V4: true}, []string{"sip.example. 60 IN A 192.0.2.1"},
			"192.0.2.1:5061/tls 0.0*0", ""},
		{"TLS has a service of its own", Target{Host: "sip.example", Transport: nat.TLS, V4: true},
			[]string{"_sips._tcp.sip.example. 60 IN SRV 1 1 5061 a.example.", "_sip._tcp.sip.example. 60 IN SRV 1 1 5060 b.example.", "a.example. 60 IN A 192.0.2.1"},
			"192.0.2.1:5061/tls 0.1*240", ""},
		{"SRV of a dot: not offered, and no fallback", srv,
			[]string{"_sip._udp.sip.example. 60 IN SRV 0 0 0 .", "sip.example. 60 IN A 192.0.2.1"}, "", "offers no such service"},
		{"SRV leads to a host without address", srv,
			[]string{"_sip._udp.sip.example. 60 IN SRV 1 1 5060 a.example.", "sip.example. 60 IN A 192.0.2.1"}, "", "a.example does not exist"},
		{"one of two hosts has no address", srv,
			[]string{"_sip._udp.sip.example. 60 IN SRV 1 1 5060 a.example.", "_sip._udp.sip.example. 60 IN SRV 2 1 5060 b.example.", "b.example. 60 IN A 192.0.2.2"},
			"192.0.2.2:5060/udp 0.2*240", ""},
		{"SRV with port 0", srv, []string{"_sip._udp.sip.example. 60 IN SRV 1 1 0 a.example.", "a.example. 60 IN A 192.0.2.1"}, "", "names no host and port"},
		{"NAPTR chooses by order, then preference", naptr,
			[]string{
				`sip.example. 60 IN NAPTR 20 1 "s" "SIP+D2U" "" _sip._udp.sip.example.`,
				`sip.example. 60 IN NAPTR 10 60 "s" "SIP+D2T" "" _sip._tcp.sip.example.`,
				`sip.example. 60 IN NAPTR 10 50 "S" "sips+d2t" "" _sips._tcp.sip.example.`,
				`sip.example. 60 IN NAPTR 5 50 "u" "E2U+sip" "!^.*$!sip:x@y!" .`,
				"_sip._udp.sip.example. 60 IN SRV 1 1 5060 a.example.", "_sip._tcp.sip.example. 60 IN SRV 1 1 5060 a.example.",
				"_sips._tcp.sip.example. 60 IN SRV 9 1 5061 a.example.", "a.example. 60 IN A 192.0.2.1",
			},
			"192.0.2.1:5061/tls 0.9*240, 192.0.2.1:5060/tcp 1.1*240", ""},
		{"NAPTR of what we do not speak is discarded", Target{Host: "sip.example", V4: true, Any: true, Speaks: Transports(0).With(nat.UDP)},
			[]string{
				`sip.example. 60 IN NAPTR 10 50 "s" "SIPS+D2T" "" _sips._tcp.sip.example.`, `sip.example. 60 IN NAPTR 20 50 "s" "SIP+D2U" "" _sip._udp.sip.example.`,
				"_sip._udp.sip.example. 60 IN SRV 1 1 5060 a.example.", "a.example. 60 IN A 192.0.2.1",
			},
			"192.0.2.1:5060/udp 0.1*240", ""},
		{"no NAPTR: the first transport with SRV", naptr,
			[]string{"_sip._tcp.sip.example. 60 IN SRV 1 1 5060 a.example.", "a.example. 60 IN A 192.0.2.1", "sip.example. 60 IN A 192.0.2.7"},
			"192.0.2.1:5060/tcp 0.1*240", ""},
		{"neither NAPTR nor SRV", naptr, []string{"sip.example. 60 IN A 192.0.2.7"}, "192.0.2.7:5060/udp 0.0*0", ""},
		{"through aliases", srv,
			[]string{"sip.example. 60 IN CNAME b.example.", "b.example. 60 IN CNAME c.example.", "c.example. 60 IN A 192.0.2.1"}, "192.0.2.1:5060/udp 0.0*0", ""},
		{"aliases in a circle", srv, []string{"sip.example. 60 IN CNAME b.example.", "b.example. 60 IN CNAME sip.example."}, "", "aliases"},
		{"nothing at all", srv, nil, "", "sip.example does not exist"},
		{"IPv4 in IPv6", Target{Host: "sip.example", Plain: true, V6: true}, []string{"sip.example. 60 IN AAAA ::ffff:10.0.0.1"}, "10.0.0.1:0/udp 0.0*0", ""},
		{"addresses of nobody", Target{Host: "sip.example", Plain: true, V4: true}, []string{"sip.example. 60 IN A 0.0.0.0", "sip.example. 60 IN A 224.0.0.1"}, "", "no usable record"},
		{"a name that is none", Target{Host: "a..b", Plain: true, V4: true}, nil, "", "not a host name"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := New(newFake(t, tt.records...), time.Now)
			a, err := r.Lookup(t.Context(), tt.target)
			if got := show(a); got != tt.want {
				t.Errorf("leads to %s\nwant %s", got, tt.want)
			}
			if text := fmt.Sprint(err); (tt.err == "") != (err == nil) || !strings.Contains(text, tt.err) {
				t.Errorf("error %v, want %q", err, tt.err)
			}
		})
	}
}

func TestRecordsAreKeptAsLongAsTheySay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, "sip.example. 100 IN A 192.0.2.1", "quick.example. 0 IN A 192.0.2.2", "slow.example. 86400 IN A 192.0.2.3")
		r := New(f, time.Now)
		ask := func(host string) Answer {
			t.Helper()
			a, err := r.Lookup(t.Context(), Target{Host: host, Plain: true, V4: true})
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		if a := ask("sip.example"); a.TTL != 100*time.Second {
			t.Errorf("TTL %s", a.TTL)
		}
		time.Sleep(60 * time.Second)
		if a := ask("sip.example"); a.TTL != 40*time.Second || f.count("sip.example", dns.TypeA) != 1 {
			t.Errorf("TTL %s after a minute, asked %d times", a.TTL, f.count("sip.example", dns.TypeA))
		}
		time.Sleep(41 * time.Second)
		if ask("sip.example"); f.count("sip.example", dns.TypeA) != 2 {
			t.Errorf("asked %d times after its time", f.count("sip.example", dns.TypeA))
		}
		for host, want := range map[string]time.Duration{"quick.example": 5 * time.Second, "slow.example": time.Hour} {
			if a := ask(host); a.TTL != want {
				t.Errorf("%s: TTL %s, want %s", host, a.TTL, want)
			}
		}
		miss := Target{Host: "none.example", Plain: true, V4: true}
		for range 3 {
			if _, err := r.Lookup(t.Context(), miss); err == nil {
				t.Error("a name that does not exist was found")
			}
		}
		if n := f.count("none.example", dns.TypeA); n != 1 {
			t.Errorf("asked %d times for what does not exist", n)
		}
		time.Sleep(31 * time.Second) // the SOA record's last field is 30
		f.set(t, "none.example. 60 IN A 192.0.2.4")
		if a, err := r.Lookup(t.Context(), miss); err != nil || len(a.Endpoints) != 1 {
			t.Errorf("%v, %v after it came to be", a, err)
		}
	})
}

// TestOldRecordsAreBetterThanNone: one name server that fails takes no part of an answer away.
func TestOldRecordsAreBetterThanNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, "_sip._udp.sip.example. 10 IN SRV 1 1 5060 a.example.", "_sip._udp.sip.example. 10 IN SRV 2 1 5060 b.example.",
			"a.example. 10 IN A 192.0.2.1", "b.example. 10 IN A 192.0.2.2")
		r := New(f, time.Now)
		target := Target{Host: "sip.example", V4: true}
		first, err := r.Lookup(t.Context(), target)
		if err != nil || len(first.Endpoints) != 2 {
			t.Fatal(first, err)
		}
		time.Sleep(time.Minute)
		f.fail("b.example", true)
		second, err := r.Lookup(t.Context(), target)
		if err != nil || show(second) != show(first) {
			t.Errorf("%s, %v", show(second), err)
		}
		if second.Trouble == nil || !strings.Contains(second.Trouble.Error(), "SERVFAIL") {
			t.Errorf("trouble %v", second.Trouble)
		}
		f.fail("_sip._udp.sip.example", true) // nobody knows whether there are SRV records: the bare host is no answer
		r = New(f, time.Now)
		if a, err := r.Lookup(t.Context(), target); err == nil || len(a.Endpoints) != 0 {
			t.Errorf("%s, %v", show(a), err)
		}
	})
}

func TestCacheIsBounded(t *testing.T) {
	r := New(newFake(t), time.Now)
	for i := range cacheMost + cacheMost/8 {
		_, err := r.Lookup(t.Context(), Target{Host: fmt.Sprintf("n%d.example", i), Plain: true, V4: true})
		if _, none := errors.AsType[*NoRecordError](err); !none {
			t.Fatal(err)
		}
	}
	if level, most := r.Known(); level > most || most != cacheMost {
		t.Errorf("%d of %d", level, most)
	}
}

// TestAHugeAnswerIsBounded: a name server may write what it likes.
func TestAHugeAnswerIsBounded(t *testing.T) {
	var records []string
	for i := range 60 {
		records = append(records, fmt.Sprintf("_sip._udp.sip.example. 60 IN SRV 1 1 5060 h%d.example.", i))
		for j := range 40 {
			records = append(records, fmt.Sprintf("h%d.example. 60 IN A 192.0.%d.%d", i, i, j+1))
		}
	}
	f := newFake(t, records...)
	a, err := New(f, time.Now).Lookup(t.Context(), Target{Host: "sip.example", V4: true, V6: true})
	if err != nil || len(a.Endpoints) > endpointMost {
		t.Errorf("%d endpoints, %v", len(a.Endpoints), err)
	}
	total := 0
	for _, n := range f.asked {
		total += n
	}
	if total > questionMost {
		t.Errorf("%d questions", total)
	}
}

func TestInterpret(t *testing.T) {
	reply := func(rcode int, records ...string) *dns.Msg {
		m := new(dns.Msg)
		m.SetQuestion("a.example.", dns.TypeA)
		m.Response, m.Rcode = true, rcode
		for _, text := range records {
			rr, err := dns.NewRR(text)
			if err != nil {
				t.Fatal(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		return m
	}
	question := new(dns.Msg)
	question.SetQuestion("a.example.", dns.TypeA)
	for _, tt := range []struct {
		name    string
		m       *dns.Msg
		records int
		alias   string
		none    bool
		bad     bool
	}{
		{"no reply", nil, 0, "", false, true},
		{"a question", question, 0, "", false, true},
		{"refused", reply(dns.RcodeRefused), 0, "", false, true},
		{"an unknown code", reply(3000), 0, "", false, true},
		{"nothing", reply(0), 0, "", false, false},
		{"no such name", reply(dns.RcodeNameError), 0, "", true, false},
		{"records of others are not looked at", reply(0, "evil.example. 60 IN A 192.0.2.66"), 0, "", false, false},
		{"case does not matter", reply(0, "A.Example. 60 IN A 192.0.2.1"), 1, "", false, false},
		{"another class", reply(0, "a.example. 60 CH A 192.0.2.1"), 0, "", false, false},
		{"an alias that leads out of the reply", reply(0, "a.example. 60 IN CNAME b.example."), 0, "b.example.", false, false},
		{"an alias to a name that does not exist", reply(dns.RcodeNameError, "a.example. 60 IN CNAME b.example."), 0, "", true, false},
		{"an alias to itself", reply(0, "a.example. 60 IN CNAME a.example."), 0, "", false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := interpret("a.example.", dns.TypeA, tt.m)
			if (err != nil) != tt.bad || !tt.bad && (len(got.records) != tt.records || got.alias != tt.alias || got.none != tt.none) {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
	if seconds(1<<31) != 0 || seconds(5) != 5*time.Second {
		t.Error("a TTL with the highest bit set counts as 0 (RFC 2181 §8)")
	}
}

// FuzzAnswer: whatever a name server writes, a lookup ends, within its bounds, and is the same for the same records.
func FuzzAnswer(f *testing.F) {
	for _, records := range [][]string{
		{"sip.example. 60 IN A 192.0.2.1"}, {"sip.example. 60 IN CNAME sip.example."}, {"_sip._udp.sip.example. 60 IN SRV 1 1 5060 sip.example."},
		{`sip.example. 60 IN NAPTR 10 50 "s" "SIP+D2U" "" _sip._udp.sip.example.`}, {"sip.example. 60 IN AAAA ::ffff:127.0.0.1"}, nil,
	} {
		m := new(dns.Msg)
		m.SetQuestion("sip.example.", dns.TypeA)
		m.Response = true
		for _, text := range records {
			rr, err := dns.NewRR(text)
			if err != nil {
				f.Fatal(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		raw, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, target := range []Target{
			{Host: "sip.example", V4: true, V6: true, Any: true, Speaks: all}, {Host: "sip.example", V4: true}, {Host: "sip.example", Plain: true, V4: true, V6: true},
		} {
			first, err := New(parrot(raw), time.Now).Lookup(t.Context(), target)
			again, _ := New(parrot(raw), time.Now).Lookup(t.Context(), target)
			if show(first) != show(again) {
				t.Fatalf("%s\n%s", show(first), show(again))
			}
			if (len(first.Endpoints) == 0) != (err != nil) || len(first.Endpoints) > endpointMost || first.TTL < ttlLeast || first.TTL > ttlMost {
				t.Fatalf("%d endpoints for %s, %v", len(first.Endpoints), first.TTL, err)
			}
			for _, e := range first.Endpoints {
				if a := e.Address.Addr(); !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.Is4In6() || !isHost(e.Host) || !target.Plain && e.Address.Port() == 0 {
					t.Fatalf("leads to %+v", e)
				}
			}
		}
	})
}
