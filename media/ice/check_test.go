package ice

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/pion/stun/v3"
	"pgregory.net/rapid"
)

var (
	own = Credentials{Fragment: [FragmentLen]byte([]byte("ourUfrag")), Password: [PasswordLen]byte([]byte("ourPasswordOf24CharsLong"))}
	who = netip.MustParseAddrPort("198.51.100.7:40122")
)

const known = "ourUfrag:theirs"

// nothing is an attribute without a value.
type nothing stun.AttrType

func (n nothing) AddTo(m *stun.Message) error { m.Add(stun.AttrType(n), nil); return nil }

// number is an attribute of 4 or 8 bytes.
type number struct {
	kind stun.AttrType
	n    int
}

func (n number) AddTo(m *stun.Message) error { m.Add(n.kind, make([]byte, n.n)); return nil }

type priority uint32

func (p priority) AddTo(m *stun.Message) error {
	m.Add(stun.AttrPriority, binary.BigEndian.AppendUint32(nil, uint32(p)))
	return nil
}

func password(s string) stun.MessageIntegrity { return stun.NewShortTermIntegrity(s) }

// build makes a request as another implementation does.
func build(t testing.TB, setters ...stun.Setter) []byte {
	t.Helper()
	m, err := stun.Build(append([]stun.Setter{stun.TransactionID, stun.BindingRequest}, setters...)...)
	if err != nil {
		t.Fatal(err)
	}
	return m.Raw
}

func good(t testing.TB, more ...stun.Setter) []byte {
	s := append([]stun.Setter{stun.NewUsername(known), number{stun.AttrICEControlling, 8}, priority(7)}, more...)
	return build(t, append(s, password(string(own.Password[:])), stun.Fingerprint)...)
}

// An answer is what another implementation takes for one.
func answered(t *testing.T, request, answer []byte, from netip.AddrPort) *stun.Message {
	t.Helper()
	m := &stun.Message{Raw: bytes.Clone(answer)}
	if err := m.Decode(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(m.TransactionID[:], request[8:20]) {
		t.Errorf("transaction %x, want %x", m.TransactionID, request[8:20])
	}
	if err := errors.Join(password(string(own.Password[:])).Check(m), stun.Fingerprint.Check(m)); err != nil {
		t.Error(err)
	}
	if m.Type.Class != stun.ClassSuccessResponse {
		return m
	}
	var at stun.XORMappedAddress
	if err := at.GetFrom(m); err != nil {
		t.Fatal(err)
	}
	if got := netip.AddrPortFrom(addr(at.IP), uint16(at.Port)); got != from {
		t.Errorf("mapped to %v, want %v", got, from)
	}
	return m
}

func addr(ip net.IP) netip.Addr { a, _ := netip.AddrFromSlice(ip); return a.Unmap() }

func TestChecks(t *testing.T) {
	right := password(string(own.Password[:]))
	controlling := number{stun.AttrICEControlling, 8}
	for name, tt := range map[string]struct {
		request []byte
		want    Verdict
		code    stun.ErrorCode
	}{
		"a check":                           {good(t), Answered, 0},
		"a nomination":                      {good(t, nothing(stun.AttrUseCandidate)), Nominated, 0},
		"an optional attribute":             {good(t, number{0xC057, 4}), Answered, 0},
		"without a fingerprint":             {build(t, stun.NewUsername(known), right), Answered, 0},
		"one who would be controlled":       {build(t, stun.NewUsername(known), number{stun.AttrICEControlled, 8}, right, stun.Fingerprint), Refused, 487},
		"an attribute nobody knows":         {good(t, number{0x0055, 4}), Refused, 420},
		"six attributes nobody knows":       {good(t, number{0x51, 4}, number{0x52, 4}, number{0x53, 4}, number{0x54, 4}, number{0x55, 4}, number{0x56, 4}), Refused, 420},
		"three attributes nobody knows":     {good(t, number{0x51, 4}, number{0x52, 4}, number{0x53, 4}), Refused, 420},
		"another password":                  {build(t, stun.NewUsername(known), controlling, password("x"), stun.Fingerprint), Silent, 0},
		"another fragment":                  {build(t, stun.NewUsername("ourUfraG:theirs"), controlling, right, stun.Fingerprint), Silent, 0},
		"a longer fragment":                 {build(t, stun.NewUsername("ourUfrag2:theirs"), controlling, right, stun.Fingerprint), Silent, 0},
		"no name":                           {build(t, controlling, right, stun.Fingerprint), Silent, 0},
		"no integrity":                      {build(t, stun.NewUsername(known), controlling, stun.Fingerprint), Silent, 0},
		"a name behind the integrity":       {build(t, controlling, right, stun.NewUsername(known)), Silent, 0},
		"a nomination behind the integrity": {build(t, stun.NewUsername(known), right, nothing(stun.AttrUseCandidate)), Answered, 0},
		"an indication":                     {build(t, stun.NewType(stun.MethodBinding, stun.ClassIndication), stun.NewUsername(known), right), Silent, 0},
		"an answer":                         {build(t, stun.BindingSuccess, stun.NewUsername(known), right), Silent, 0},
		"nothing":                           {nil, Silent, 0},
		"a header":                          {build(t), Silent, 0},
	} {
		t.Run(name, func(t *testing.T) {
			request := bytes.Clone(tt.request)
			answer, v, from := NewAgent(own).Check(request, who, make([]byte, 0, MaxAnswer))
			if name == "a check" && from != 7 {
				t.Errorf("priority %d", from)
			}
			if v != tt.want || (answer == nil) != (v == Silent) {
				t.Fatalf("%v with %d bytes, want %v", v, len(answer), tt.want)
			}
			if v == Silent {
				return
			}
			m := answered(t, tt.request, answer, who)
			var code stun.ErrorCodeAttribute
			if err := code.GetFrom(m); (tt.code != 0) != (err == nil) || code.Code != tt.code {
				t.Errorf("error %v %v, want %d", code, err, tt.code)
			}
		})
	}
}

// One bit that changed on the way, or any byte that is missing, and nothing is said. The name of the last attribute is not
// protected by anything: without FINGERPRINT a check is still one.
func TestWhatIsNotAuthenticIsSilent(t *testing.T) {
	a, request := NewAgent(own), good(t)
	last := len(request) - fingerprintLen
	for i := range request {
		for bit := range 8 {
			b := bytes.Clone(request)
			b[i] ^= 1 << bit
			if _, v, _ := a.Check(b, who, make([]byte, 0, MaxAnswer)); v != Silent && i != last && i != last+1 {
				t.Errorf("byte %d bit %d: %v", i, bit, v)
			}
		}
		if _, v, _ := a.Check(request[:i], who, nil); v != Silent && i != last {
			t.Errorf("cut at %d: %v", i, v)
		}
	}
}

// The datagram's own memory takes the answer, whatever the address; nothing is allocated.
func TestAnswersLieWhereTheCheckLay(t *testing.T) {
	for _, from := range []netip.AddrPort{who, netip.MustParseAddrPort("[2001:db8::7]:1"), netip.MustParseAddrPort("[::ffff:192.0.2.1]:65535")} {
		a, request := NewAgent(own), good(t, nothing(stun.AttrUseCandidate))
		buf := make([]byte, len(request), len(request)+32)
		copy(buf, request)
		answer, v, _ := a.Check(buf, from, buf)
		if v != Nominated || &answer[0] != &buf[0] {
			t.Fatalf("%v from %v", v, from)
		}
		answered(t, request, answer, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()))
		if n := testing.AllocsPerRun(100, func() {
			buf = buf[:len(request)]
			copy(buf, request)
			if _, v, _ := a.Check(buf, from, buf); v != Nominated {
				t.Fatal(v)
			}
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
}

// Whatever an implementation of STUN builds, this one reads alike.
func TestChecksAgreeWithAnotherReader(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "address"))), rapid.Uint16().Draw(t, "port"))
		name := known[:9] + rapid.StringMatching(`[a-zA-Z0-9+/]{0,255}`).Draw(t, "fragment")
		setters := []stun.Setter{stun.TransactionID, stun.BindingRequest, stun.NewUsername(name)}
		nominate := rapid.Bool().Draw(t, "nominate")
		if nominate {
			setters = append(setters, nothing(stun.AttrUseCandidate))
		}
		for range rapid.IntRange(0, 5).Draw(t, "more") {
			setters = append(setters, number{stun.AttrType(rapid.Uint16Range(0x8000, 0x8027).Draw(t, "kind")), rapid.IntRange(0, 70).Draw(t, "length")})
		}
		m, err := stun.Build(append(setters, password(string(own.Password[:])), stun.Fingerprint)...)
		if err != nil {
			t.Fatal(err)
		}
		answer, v, _ := NewAgent(own).Check(m.Raw, from, nil)
		if want := map[bool]Verdict{false: Answered, true: Nominated}[nominate]; v != want {
			t.Fatalf("%v, want %v", v, want)
		}
		back := &stun.Message{Raw: answer}
		var at stun.XORMappedAddress
		if err := errors.Join(back.Decode(), at.GetFrom(back)); err != nil || addr(at.IP) != from.Addr() || at.Port != int(from.Port()) {
			t.Fatalf("%v: %v, want %v", err, at, from)
		}
	})
}

func FuzzCheck(f *testing.F) {
	f.Add(good(f))
	f.Add(good(f, nothing(stun.AttrUseCandidate), number{0x55, 3}))
	f.Add(build(f, stun.NewUsername(known)))
	f.Fuzz(func(t *testing.T, b []byte) {
		a := NewAgent(own)
		before := bytes.Clone(b)
		answer, v, _ := a.Check(b, who, make([]byte, 0, MaxAnswer))
		if !bytes.Equal(b, before) {
			t.Fatal("the datagram was changed")
		}
		if v == Silent {
			return
		}
		m := &stun.Message{Raw: before}
		if err := m.Decode(); err != nil || password(string(own.Password[:])).Check(m) != nil {
			t.Fatalf("%v: not authentic: %v", v, err)
		}
		if len(answer) > MaxAnswer || int(binary.BigEndian.Uint16(answer[2:])) != len(answer)-headerLen {
			t.Fatalf("answer of %d bytes", len(answer))
		}
	})
}
