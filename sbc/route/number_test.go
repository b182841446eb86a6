package route

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"sallyport/sbc/message"
)

// FuzzNumber: what comes out is stable, holds no separators if it is a number, and no parameters ever.
func FuzzNumber(f *testing.F) {
	for _, s := range []string{"", "+49(30)12-3.4", "%2B49", "john.doe", "100;phone-context=x", "a:b;c", "-", "+", "%2b%2B", "٣٤", "\xff"} {
		f.Add(s)
	}
	dialled := regexp.MustCompile(`^\+?[0-9*#]*$`)
	f.Fuzz(func(t *testing.T, user string) {
		n := Number(message.URI{Scheme: "sip", User: user})
		if strings.ContainsAny(n, ";:") {
			t.Errorf("%q became %q with parameters", user, n)
		}
		if again := Number(message.URI{Scheme: "sip", User: n}); again != n {
			t.Errorf("%q became %q became %q", user, n, again)
		}
		if plain := separators.Replace(n); plain != n && dialled.MatchString(plain) && plain != "" {
			t.Errorf("%q became %q, a number with separators", user, n)
		}
	})
}

func BenchmarkOutboundOfAThousandTrunks(b *testing.B) {
	var table Table
	for i := range 1000 {
		re, err := Compile(fmt.Sprintf(`\+49%03d[0-9]{2,12}`, i))
		if err != nil {
			b.Fatal(err)
		}
		table.Trunks = append(table.Trunks, Trunk{Name: fmt.Sprint("t", i), Match: []*regexp.Regexp{re}})
	}
	to := message.URI{Scheme: "sip", User: "+499991234567"}
	b.ReportAllocs()
	for b.Loop() {
		if got := table.Outbound(to); len(got) != 1 {
			b.Fatal(got)
		}
	}
}
