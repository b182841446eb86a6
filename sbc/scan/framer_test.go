package scan

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// short is a small message of a stream with a body.
func short(n int, body string) string {
	return fmt.Sprintf("OPTIONS sip:a SIP/2.0\r\nCall-ID: %d\r\nl: %d\r\n\r\n%s", n, len(body), body)
}

// drain takes everything that is ready.
func drain(f *Framer) (got []string, err error) {
	for {
		var v View
		kind, msg, err := f.Next(&v)
		switch {
		case err != nil:
			return got, err
		case kind == None:
			return got, nil
		case kind == KeepAlive:
			got = append(got, "ping")
		default:
			got = append(got, string(v.Bytes(v.CallID))+"/"+string(v.Bytes(v.Body)))
			var own View
			if err := Scan(msg, &own); err != nil {
				return got, fmt.Errorf("the framer took what a scan refuses: %w", err)
			}
			if own.Headers != v.Headers || own.Body != v.Body || own.CallID != v.CallID {
				return got, errors.New("the framer's view differs from a scan")
			}
		}
	}
}

func TestFramer(t *testing.T) {
	tests := []struct {
		name, stream string
		want         string
	}{
		{"one", short(1, ""), "1/"},
		{"two with bodies", short(1, "ab") + short(2, "cd\r\n\r\n"), "1/ab 2/cd\r\n\r\n"},
		{"ping", "\r\n\r\n", "ping"},
		{"pong, then message", "\r\n" + short(1, "x"), "1/x"},
		{"ping, then message", "\r\n\r\n" + short(1, "x"), "ping 1/x"},
		{"three line ends", "\r\n\r\n\r\n" + short(1, "x"), "ping 1/x"},
		{"between messages", short(1, "x") + "\r\n\r\n" + short(2, "") + "\r\n" + short(3, ""), "1/x ping 2/ 3/"},
		{"unfinished", short(1, "x") + short(2, "yy")[:40], "1/x"},
		{"body holds a message", short(1, short(2, "z")), "1/" + short(2, "z")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, step := range []int{1, 3, 1000} {
				var f Framer
				var got []string
				for rest := tt.stream; rest != ""; {
					n := min(step, len(rest))
					if err := f.Feed([]byte(rest[:n])); err != nil {
						t.Fatal(err)
					}
					rest = rest[n:]
					more, err := drain(&f)
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, more...)
				}
				if s := strings.Join(got, " "); s != tt.want {
					t.Errorf("step %d: %q, want %q", step, s, tt.want)
				}
			}
		})
	}
}

func TestFramerRefuses(t *testing.T) {
	head := "OPTIONS sip:a SIP/2.0\r\n"
	tests := []struct {
		name, stream string
		want         error
	}{
		{"no length", head + "A: b\r\n\r\n", ErrStreamLength},
		{"same length twice", head + "l: 0\r\nContent-Length: 0\r\n\r\n", ErrStreamLength},
		{"lengths differ", head + "l: 0\r\nl: 1\r\n\r\n", ErrContentLength},
		{"negative length", head + "l: -1\r\n\r\n", ErrContentLength},
		{"huge length", head + "l: 99999\r\n\r\n", ErrTooLarge},
		{"huge header section", head + strings.Repeat("A: b\r\n", 4000), ErrTooLarge},
		{"huge header section, ended", head + strings.Repeat("A: b\r\n", 4000) + "\r\n", ErrTooLarge},
		{"garbage first", "(" + short(1, ""), ErrStreamBytes},
		{"lone CR", "\rx" + short(1, ""), ErrStreamBytes},
		{"lone CR behind a CRLF", "\r\n\rx", ErrStreamBytes},
		{"zero byte", "\x00", ErrStreamBytes},
		{"garbage between", short(1, "") + "\n" + short(2, ""), ErrStreamBytes},
		{"no SIP", "GET / HTTP/1.1\r\n\r\n", ErrStartLine},
		{"bare LF", head + "A: b\nl: 0\r\n\r\n", ErrLineEnd},
		{"overflow", strings.Repeat("x", MaxPending+1), ErrOverflow},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var f Framer
			err := f.Feed([]byte(tt.stream))
			if err == nil {
				_, err = drain(&f)
			}
			if !errors.Is(err, tt.want) {
				t.Fatalf("error %v, want %v", err, tt.want)
			}
			if err := f.Feed([]byte(short(9, ""))); !errors.Is(err, tt.want) {
				t.Errorf("the framer took bytes after its error: %v", err)
			}
			var v View
			if _, _, err := f.Next(&v); !errors.Is(err, tt.want) {
				t.Errorf("the framer gave something after its error: %v", err)
			}
		})
	}
}

// TestFramerIgnoresCuts: however a stream is cut, the same messages come out.
func TestFramerIgnoresCuts(t *testing.T) {
	part := rapid.OneOf(
		rapid.Custom(func(t *rapid.T) string {
			return short(rapid.IntRange(0, 99).Draw(t, "id"), rapid.StringMatching(`[a-z\r\n]{0,40}`).Draw(t, "body"))
		}),
		rapid.SampledFrom([]string{"\r\n", "\r\n\r\n", "\r\n\r\n\r\n", "BYE sip:a SIP/2.0\r\nl: -1\r\n\r\n", "\n", "\r"}),
	)
	rapid.Check(t, func(t *rapid.T) {
		stream := strings.Join(rapid.SliceOfN(part, 0, 8).Draw(t, "parts"), "")
		var whole Framer
		if err := whole.Feed([]byte(stream)); err != nil {
			t.Fatal(err)
		}
		want, wantErr := drain(&whole)

		var f Framer
		var got []string
		var err error
		for rest := stream; rest != "" && err == nil; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "n")
			if err = f.Feed([]byte(rest[:n])); err == nil {
				var more []string
				more, err = drain(&f)
				got = append(got, more...)
			}
			rest = rest[n:]
		}
		if strings.Join(got, "|") != strings.Join(want, "|") || !errors.Is(err, wantErr) {
			t.Fatalf("cut: %q %v; whole: %q %v", got, err, want, wantErr)
		}
	})
}

func TestFramerReleasesItsBuffer(t *testing.T) {
	var f Framer
	for range 3 {
		if err := f.Feed([]byte(short(1, strings.Repeat("x", 10000)))); err != nil {
			t.Fatal(err)
		}
		if _, err := drain(&f); err != nil {
			t.Fatal(err)
		}
		if err := f.Feed([]byte("\r\n")); err != nil {
			t.Fatal(err)
		}
		if cap(f.buf) > keepBuffer {
			t.Errorf("an idle framer holds %d bytes", cap(f.buf))
		}
		if _, err := drain(&f); err != nil || f.Pending() != 2 {
			t.Errorf("pending %d, %v", f.Pending(), err)
		}
	}
}

func TestFramerAllocatesNothingPerMessage(t *testing.T) {
	var f Framer
	var v View
	data := []byte(short(1, "body"))
	if n := testing.AllocsPerRun(100, func() {
		if err := f.Feed(data); err != nil {
			t.Fatal(err)
		}
		if kind, _, err := f.Next(&v); kind != Message || err != nil {
			t.Fatal(kind, err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzFramer(f *testing.F) {
	corpus(f)
	f.Add([]byte("\r\n\r\n" + short(1, "a") + short(2, "b") + "\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > MaxPending {
			return
		}
		var whole, halves Framer
		if err := whole.Feed(data); err != nil {
			t.Fatal(err)
		}
		want, wantErr := drain(&whole)
		var got []string
		var err error
		for at := 0; at < len(data) && err == nil; {
			n := min(1+int(data[at])%64, len(data)-at)
			if err = halves.Feed(data[at : at+n]); err == nil {
				var more []string
				more, err = drain(&halves)
				got = append(got, more...)
			}
			at += n
		}
		if strings.Join(got, "|") != strings.Join(want, "|") || (err == nil) != (wantErr == nil) {
			t.Fatalf("cut: %q %v; whole: %q %v", got, err, want, wantErr)
		}
	})
}
