package route

import (
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sallyport/sbc/message"
)

func uri(scheme, user string) message.URI {
	return message.URI{Scheme: scheme, User: user, Host: "10.0.0.2"}
}

func TestNumber(t *testing.T) {
	for _, tt := range []struct {
		name, user, want string
	}{
		{"plain", "4930123", "4930123"},
		{"international", "+4930123", "+4930123"},
		{"escaped plus", "%2B4930123", "+4930123"},
		{"visual separators", "+49(30)12-3.4", "+49301234"},
		{"user parameters", "4930123;phone-context=+49", "4930123"},
		{"password is no number", "4930123:secret", "4930123"},
		{"a name keeps its dots", "john.doe", "john.doe"},
		{"a name keeps its dashes", "front-desk", "front-desk"},
		{"service code", "*43#", "*43#"},
		{"plus inside is a name", "49+30", "49+30"},
		{"empty", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Number(uri("sip", tt.user)); got != tt.want {
				t.Errorf("Number(%q) = %q, want %q", tt.user, got, tt.want)
			}
		})
	}
}

func TestOutboundKeepsFileOrder(t *testing.T) {
	compile := func(p string) []*regexp.Regexp {
		re, err := Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		return []*regexp.Regexp{re}
	}
	table := Table{Trunks: []Trunk{
		{Name: "national", Match: compile(`0[1-9][0-9]+`)},
		{Name: "all", Match: compile(`\+?[0-9]{2,15}`)},
		{Name: "inbound only"},
	}}
	for _, tt := range []struct {
		user string
		want []string
	}{
		{"030123", []string{"national", "all"}},
		{"+4930123", []string{"all"}},
		{"x030123", nil}, // anchored: a number within a name is none
		{"030123x", nil},
		{"alice", nil},
		{"", nil},
	} {
		if diff := cmp.Diff(tt.want, table.Outbound(uri("sip", tt.user))); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.user, diff)
		}
	}
	if got := table.Outbound(uri("tel", "+49-30-123")); len(got) != 1 || got[0] != "all" {
		t.Errorf("a tel URI goes by its number, got %v", got)
	}
}

func TestCompileSaysWhatIsWrong(t *testing.T) {
	if _, err := Compile(`(`); err == nil {
		t.Fatal("a broken pattern must be an error")
	}
	// Anchors of the administrator do no harm.
	re, err := Compile(`^\+?[0-9]{2,15}$`)
	if err != nil || !re.MatchString("+49") || re.MatchString("+49\n") {
		t.Errorf("anchored twice: %v", err)
	}
}
