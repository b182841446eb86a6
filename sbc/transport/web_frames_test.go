package transport

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"
	"pgregory.net/rapid"

	"sallyport/sbc/scan"
)

func TestFrames(t *testing.T) {
	long, longer := strings.Repeat("x", 200), strings.Repeat("y", scan.MaxMessage)
	for _, c := range []struct {
		name, raw string
		want      []string
		err       error
	}{
		{"text", masked(ws.OpText, "hello"), []string{"1 hello"}, nil},
		{"binary and empty", masked(ws.OpBinary, "\x00\xff") + masked(ws.OpText, ""), []string{"2 \x00\xff", "1 "}, nil},
		{"each length form", masked(ws.OpText, long[:125]) + masked(ws.OpText, long[:126]) + masked(ws.OpText, longer),
			[]string{"1 " + long[:125], "1 " + long[:126], "1 " + longer}, nil},
		{"fragments around control frames", part(ws.OpText, false, "he") + masked(ws.OpPing, "p") + part(ws.OpContinuation, false, "") +
			masked(ws.OpPong, "") + part(ws.OpContinuation, true, "llo") + masked(ws.OpClose, "\x03\xe8bye"),
			[]string{"9 p", "a ", "1 hello", "8 \x03\xe8bye"}, nil},
		{"just in the bound", part(ws.OpText, false, longer[:scan.MaxMessage-1]) + part(ws.OpContinuation, true, "y"), []string{"1 " + longer}, nil},

		{"not masked", string(ws.MustCompileFrame(ws.NewTextFrame([]byte("hello")))), nil, ws.ErrProtocolMaskRequired},
		{"not masked, two bytes of it", "\x81\x05", nil, ws.ErrProtocolMaskRequired},
		{"compressed", "\xc1\x85", nil, ws.ErrProtocolNonZeroRsv},
		{"unknown data", "\x83\x80", nil, ws.ErrProtocolOpCodeReserved},
		{"unknown control", "\x8b\x80", nil, ws.ErrProtocolOpCodeReserved},
		{"a fragment of nothing", part(ws.OpContinuation, true, "x"), nil, ws.ErrProtocolContinuationUnexpected},
		{"a message in a message", part(ws.OpText, false, "x") + part(ws.OpText, true, "y"), nil, ws.ErrProtocolContinuationExpected},
		{"fragment behind a whole message", masked(ws.OpText, "x") + part(ws.OpContinuation, true, "y"), []string{"1 x"}, ws.ErrProtocolContinuationUnexpected},
		{"ping in fragments", "\x09\x80", nil, ws.ErrProtocolControlNotFinal},
		{"large ping", "\x89\xfe", nil, ws.ErrProtocolControlPayloadOverflow},
		{"too large", "\x81\xfe\x40\x01\x00\x00\x00\x00", nil, scan.ErrTooLarge},
		{"much too large", "\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00", nil, scan.ErrTooLarge},
		{"negative", "\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00", nil, errLength64},
		{"long form of a short length", "\x82\xfe\x00\x7d\x00\x00\x00\x00", nil, errLength64},
		{"longer form of a short length", "\x82\xff\x00\x00\x00\x00\x00\x00\xff\xff\x00\x00\x00\x00", nil, errLength64},
		{"too large in fragments", part(ws.OpText, false, longer) + "\x80\x81", nil, nil},
		{"too large by one byte", part(ws.OpText, false, longer) + part(ws.OpContinuation, true, "z"), nil, scan.ErrTooLarge},
		{"endless fragments", part(ws.OpText, false, "") + strings.Repeat(part(ws.OpContinuation, false, ""), fragmentsMost), nil, errFragments},
		{"as many as may be", part(ws.OpText, false, "") + strings.Repeat(part(ws.OpContinuation, false, "a"), fragmentsMost-2) + part(ws.OpContinuation, true, "") +
			masked(ws.OpText, "b"), []string{"1 " + strings.Repeat("a", fragmentsMost-2), "1 b"}, nil},
	} {
		for _, piece := range []int{1, 2, 3, 7, 1000, 1 << 20} {
			var f frames
			got, err := cutAt(&f, []byte(c.raw), piece)
			if !slices.Equal(got, c.want) || !errors.Is(err, c.err) {
				t.Errorf("%s, %d bytes at a time: %.80q, %v; want %.80q, %v", c.name, piece, got, err, c.want, c.err)
			}
		}
	}
}

// TestFramesNeverHoldMore: what is held is bounded by a message, and nothing is once all is over.
func TestFramesNeverHoldMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var f frames
		var raw []byte
		var want []string
		for range rapid.IntRange(0, 6).Draw(t, "messages") {
			op := rapid.SampledFrom([]ws.OpCode{ws.OpText, ws.OpBinary}).Draw(t, "op")
			texts := rapid.SliceOfN(rapid.StringN(0, 50, 3000), 1, 5).Draw(t, "fragments")
			for i, text := range texts {
				if rapid.Bool().Draw(t, "control") {
					raw = append(raw, masked(ws.OpPing, "p")...)
					want = append(want, "9 p")
				}
				kind := op
				if i > 0 {
					kind = ws.OpContinuation
				}
				raw = append(raw, part(kind, i == len(texts)-1, text)...)
			}
			want = append(want, string('0'+byte(op))+" "+strings.Join(texts, ""))
		}
		got, err := cutAt(&f, raw, rapid.IntRange(1, 5000).Draw(t, "piece"))
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("%.60q, %v; want %.60q", got, err, want)
		}
		if !f.clean() || cap(f.message) > 4*scan.MaxMessage {
			t.Fatalf("%d bytes are held, clean %v", cap(f.message), f.clean())
		}
		if f.reset(); cap(f.message) > keepMessage {
			t.Fatalf("%d bytes are kept", cap(f.message))
		}
	})
}

// FuzzFrames: any bytes, in any pieces, give the same messages, none of them too large, and no more than the bytes had; and
// another reader finds the same.
func FuzzFrames(f *testing.F) {
	for _, seed := range []string{
		masked(ws.OpText, request("REGISTER", "a")), part(ws.OpText, false, "he") + masked(ws.OpPing, "p") + part(ws.OpContinuation, true, "llo"),
		masked(ws.OpBinary, strings.Repeat("x", 300)) + closeWith(1000, "bye"), "\x81\x05hello", "\xc1\x85", "\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00",
		part(ws.OpText, false, "") + strings.Repeat(part(ws.OpContinuation, false, ""), 70), "\x88\x80\x00\x00\x00\x00", "\x82\xfe\x00\x7d",
	} {
		f.Add([]byte(seed), 3)
	}
	f.Fuzz(func(t *testing.T, raw []byte, piece int) {
		var one, two frames
		whole, err := cutAt(&one, raw, len(raw))
		cut, cutErr := cutAt(&two, raw, piece)
		if !slices.Equal(whole, cut) || !errors.Is(err, cutErr) {
			t.Fatalf("in one %q, %v, in pieces %q, %v", whole, err, cut, cutErr)
		}
		size := 0
		for _, m := range whole {
			size += len(m) - 2
			if len(m)-2 > scan.MaxMessage {
				t.Fatalf("a message of %d bytes", len(m)-2)
			}
		}
		if size > len(raw) || cap(one.message) > 4*scan.MaxMessage {
			t.Fatalf("%d bytes out of %d, %d held", size, len(raw), cap(one.message))
		}
		if other := reference(raw); err == nil && !slices.Equal(whole, other) {
			t.Fatalf("%q, and the library reads %q", whole, other)
		}
	})
}

// reference reads frames one by one with the library's reader, which waits for whole ones.
func reference(raw []byte) (out []string) {
	var message []byte
	var op ws.OpCode
	for r := bytes.NewReader(raw); ; {
		h, err := ws.ReadHeader(r)
		if err != nil || h.Length > int64(r.Len()) {
			return out
		}
		payload := make([]byte, h.Length)
		_, _ = r.Read(payload)
		ws.Cipher(payload, h.Mask, 0)
		if h.OpCode.IsControl() {
			out = append(out, string("0123456789abcdef"[h.OpCode])+" "+string(payload))
			continue
		}
		if h.OpCode != ws.OpContinuation {
			op, message = h.OpCode, nil
		}
		if message = append(message, payload...); h.Fin {
			out = append(out, string("0123456789abcdef"[op])+" "+string(message))
		}
	}
}

func TestAppendFrame(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 65535, 65536} {
		payload := bytes.Repeat([]byte("x"), n)
		got := appendFrame(nil, ws.OpText, payload)
		if want := ws.MustCompileFrame(ws.NewTextFrame(payload)); !bytes.Equal(got, want) {
			t.Errorf("%d bytes: %.20x, want %.20x", n, got, want)
		}
	}
}
