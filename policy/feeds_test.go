package policy

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/gaissmai/bart"

	"sallyport/nat"
)

func feedOf(prefixes ...string) *bart.Lite {
	set := new(bart.Lite)
	for _, p := range prefixes {
		set.Insert(netip.MustParsePrefix(p))
	}
	return set
}

// TestFeedsBindStrangersOnly: whatever a list that others keep says, known peers pass.
func TestFeedsBindStrangersOnly(t *testing.T) {
	d := Data{Feeds: map[string]*bart.Lite{
		"first":  feedOf("192.0.2.66/32", "203.0.113.20/32", "10.0.0.10/32", "198.51.100.7/32"),
		"second": feedOf("192.0.2.0/24", "2001:db8::/64"),
		"quiet":  feedOf("192.0.2.0/24"),
	}}
	c := &Config{Feeds: []FeedConfig{{Name: "quiet", Shadow: true}, {Name: "first", Comment: "theirs"}, {Name: "second", Realms: []string{"trunks"}}, {Name: "late"}},
		Phones: PhonesConfig{Unregistered: "forward"}}
	g := newGuard(t, c)
	g.SetRules(noon, compileWith(t, c, d))
	for _, s := range []struct {
		i            *nat.Interface
		source, want string
		rule, shadow string
	}{
		{outsideTrunks, "203.0.113.20", "allow allow", "", ""},
		{insideTrunks, "10.0.0.10", "allow allow", "", ""},
		{outsidePhones, "198.51.100.7", "allow allow", "", ""},
		{outsidePhones, "192.0.2.66", "drop black-list", "first", "quiet"},
		{outsidePhones, "192.0.2.67", "allow allow", "", "quiet"},
		{outsideTrunks, "192.0.2.67", "drop black-list", "second", "quiet"},
		{outsideTrunks, "2001:db8::1", "drop black-list", "second", ""},
		{outsidePhones, "2001:db8::1", "allow allow", "", ""},
		{outsidePhones, "203.0.113.20", "drop black-list", "first", ""}, // a provider at the wrong door is a stranger
	} {
		v := send(g, noon, s.i, s.source, msg{branch: "z9hG4bK" + s.source + s.i.String()}.bytes())
		wantSays(t, v, s.want)
		rule, _ := g.Rules().Rule(v.Rule)
		shadow, _ := g.Rules().Rule(v.Shadow)
		if rule.Name != s.rule || shadow.Name != s.shadow || s.rule != "" && rule.Kind != "feed" {
			t.Errorf("%s at %s: %+v %+v", s.source, s.i, rule, shadow)
		}
	}
	var counts []string
	for _, h := range g.RuleHits() {
		if h.Rule.Kind == "feed" {
			counts = append(counts, strings.Repeat("+", int(h.Enforced))+strings.Repeat("s", int(h.Shadow)))
		}
	}
	if got := strings.Join(counts, " "); got != "sss ++ ++ " {
		t.Errorf("counted %q", got)
	}
}

func TestFeedsAreValidated(t *testing.T) {
	c := &Config{Feeds: []FeedConfig{{}, {Name: "a"}, {Name: "a", Realms: []string{"phone"}}}}
	err := c.Validate()
	for _, want := range []string{"policy.feeds[0].name: is missing", "policy.feeds[2].name: \"a\" is also the name of policy.feeds[1]", "policy.feeds[2].realms: \"phone\" is unknown"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
	c = &Config{Countries: CountriesConfig{Mode: "permit", Unknown: "ask", Realms: []string{"x"}, List: []string{"DE", "UK", "XX"}}}
	err = c.Validate()
	for _, want := range []string{"policy.countries.mode: ", "policy.countries.unknown: ", "policy.countries.realms: ", "write GB", "\"XX\" is not the code"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
	for _, bad := range []CountriesConfig{{Mode: "allow"}, {Unknown: "deny"}} {
		if err = (&Config{Countries: bad}).Validate(); err == nil || !strings.Contains(err.Error(), "policy.countries.list: is empty") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
