package policy

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/gaissmai/bart"

	"sallyport/nat"
	"sallyport/policy/geo"
)

// TestCountriesBySubject holds the modes of step 5 against sources of every kind.
func TestCountriesBySubject(t *testing.T) {
	d := Data{Countries: world(t)}
	peers := []Peer{
		{netip.MustParsePrefix("203.0.113.20/32"), Trunk, nat.Outside, nat.Trunks, "itsp"},    // FR
		{netip.MustParsePrefix("203.0.113.30/32"), Node, nat.Inside, nat.Phones, "pbx"},       // FR
		{netip.MustParsePrefix("203.0.113.40/32"), Phone, nat.Outside, nat.Phones, "204@x.y"}, // FR
	}
	subjects := []struct {
		i      *nat.Interface
		source string
	}{
		{outsidePhones, "192.0.2.1"}, {outsidePhones, "192.0.2.129"}, {outsidePhones, "1.1.1.1"}, {outsidePhones, "10.1.1.1"}, {outsidePhones, "2001:db8::5"},
		{outsideTrunks, "192.0.2.129"}, {outsideTrunks, "203.0.113.20"}, {insidePhones, "203.0.113.30"}, {insidePhones, "203.0.113.99"}, {outsidePhones, "203.0.113.40"},
	}
	for _, c := range []struct {
		name string
		c    CountriesConfig
		want string // German, French, unknown, private, German IPv6; French at trunks; French trunk, node, stranger inside, phone
	}{
		{"nothing", CountriesConfig{}, "+ + + + + + + + + +"},
		{"deny", CountriesConfig{List: []string{"FR"}}, "+ - + + + - + + + -"},
		{"deny by name", CountriesConfig{Mode: "deny", List: []string{"fr", "US"}}, "+ - + + + - + + + -"},
		{"allow", CountriesConfig{Mode: "allow", List: []string{"DE"}}, "+ - + + + - + + + -"},
		{"allow nobody here", CountriesConfig{Mode: "allow", List: []string{"US"}}, "- - + + - - + + + -"},
		{"allow, unknown: deny", CountriesConfig{Mode: "allow", List: []string{"DE"}, Unknown: "deny"}, "+ - - + + - + + + -"},
		{"deny, unknown: deny", CountriesConfig{List: []string{"US"}, Unknown: "deny"}, "+ + - + + + + + + +"},
		{"at trunks", CountriesConfig{List: []string{"FR"}, Realms: []string{"trunks"}}, "+ + + + + - + + + +"},
		{"shadow", CountriesConfig{List: []string{"FR"}, Shadow: true}, "+ s + + + s + + + s"},
	} {
		config := &Config{Countries: c.c}
		var got []string
		for _, s := range subjects {
			g := newGuard(t, config)
			g.SetPeers(peers)
			g.SetRules(noon, compileWith(t, config, d))
			v := send(g, noon, s.i, s.source, msg{}.bytes())
			info, _ := g.Rules().Rule(v.Rule)
			shadow, _ := g.Rules().Rule(v.Shadow)
			switch {
			case v.Reason == "country" && v.Action == Drop && info.Kind == "country" && info.Path == "policy.countries":
				got = append(got, "-")
			case shadow.Kind == "country":
				got = append(got, "s")
				if hits := g.RuleHits(); hits[0].Shadow != 1 || hits[0].Enforced != 0 {
					t.Errorf("%+v", hits[0])
				}
			default:
				got = append(got, "+")
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %s, want %s", c.name, strings.Join(got, " "), c.want)
		}
	}
}

func TestWithoutADatabaseNobodyIsForeign(t *testing.T) {
	for _, d := range []Data{{}, {Countries: new(geo.Database)}} {
		g := newGuard(t, &Config{})
		g.SetRules(noon, compileWith(t, &Config{Countries: CountriesConfig{Mode: "allow", List: []string{"DE"}, Unknown: "deny"}}, d))
		wantSays(t, send(g, noon, outsidePhones, phone, msg{}.bytes()), "allow allow")
	}
}

func TestPrivateAddressesHaveNoCountry(t *testing.T) {
	d, err := geo.Read(strings.NewReader("0.0.0.0/0,DE\n::/0,DE\n"), "test")
	if err != nil {
		t.Fatal(err)
	}
	r := compileWith(t, &Config{}, Data{Countries: d})
	for text, want := range map[string]string{"1.1.1.1": "DE", "10.0.0.1": "", "172.16.0.1": "", "172.32.0.1": "DE", "192.168.1.1": "", "100.64.0.1": "",
		"100.128.0.1": "DE", "127.0.0.1": "", "169.254.0.1": "", "2001:db8::1": "DE", "fd00::1": "", "fe80::1": "", "::1": "", "::": "", "0.0.0.0": ""} {
		s := Subject{Source: addrPort(text)}
		if got := r.countryOf(&s).String(); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

// TestTheCountryIsLookedUpOnce: a second database behind the same subject is not asked.
func TestTheCountryIsLookedUpOnce(t *testing.T) {
	s := Subject{Source: addrPort("192.0.2.1")}
	if got := compileWith(t, &Config{}, Data{Countries: world(t)}).countryOf(&s).String(); got != "DE" {
		t.Fatal(got)
	}
	if got := compileWith(t, &Config{}, Data{}).countryOf(&s).String(); got != "DE" {
		t.Error("it is looked up again")
	}
}

func TestCountriesAreSpared(t *testing.T) {
	c := &Config{Countries: CountriesConfig{List: []string{"DE"}}, WhiteList: []WhiteEntry{{Range: []string{"192.0.2.0/28"}, Exempt: []string{"countries"}}},
		Phones: PhonesConfig{Unregistered: "forward"}}
	g := newGuard(t, c)
	g.SetRules(noon, compileWith(t, c, Data{Countries: world(t)}))
	wantSays(t, send(g, noon, outsidePhones, "192.0.2.1", msg{}.bytes()), "allow white-list")
	wantSays(t, send(g, noon, outsidePhones, "192.0.2.77", msg{}.bytes()), "drop country")
	x := g.Explain(noon, netip.MustParseAddr("192.0.2.77"))
	if x.Country.String() != "DE" || x.Now.Reason != "country" || !strings.Contains(x.Text(noon.Location()), "192.0.2.77   DE · outside/phones · stranger") {
		t.Errorf("%s", x.Text(noon.Location()))
	}
}

func TestACodeThatTheDatabaseLacksIsWarnedOf(t *testing.T) {
	c := &Config{DenyUserAgents: []UserAgentConfig{}, Countries: CountriesConfig{List: []string{"DE", "SJ"}}}
	got := compileWith(t, c, Data{Countries: world(t)}).Warnings()
	if len(got) != 1 || got[0] != "policy.countries.list: no address is in SJ by the database" {
		t.Error(got)
	}
	if got = compileWith(t, c, Data{}).Warnings(); len(got) != 0 {
		t.Error(got)
	}
}

// TestWhyNamesTheWayOut: every kind of rule of steps 3, 5 and 7 is told with what to change.
func TestWhyNamesTheWayOut(t *testing.T) {
	d := Data{Countries: world(t), Feeds: map[string]*bart.Lite{"blocklist": feedOf("192.0.2.0/24")}}
	for want, c := range map[string]*Config{
		`ask those who keep "blocklist" to take it out; or add to policy.white_list: { range: 192.0.2.77, exempt: [bans] }`: {
			Feeds: []FeedConfig{{Name: "blocklist"}}},
		"add to policy.white_list: { range: 192.0.2.77, exempt: [countries] }; or change policy.countries": {
			Countries: CountriesConfig{List: []string{"DE"}}},
		`add before policy.message_rules[0]: { range: 192.0.2.77, action: allow }; or count only: add shadow: true to "no name"`: {
			MessageRules: []MessageRuleConfig{{Name: "no name", UserAgent: []PatternConfig{{Mode: "absent"}}}}},
		"take country:DE out of policy.black_list[0]; or add to policy.white_list: { range: 192.0.2.77, exempt: [bans] }": {
			BlackList: []BlackEntry{{Range: []string{"country:DE"}}}},
	} {
		g := newGuard(t, c)
		g.SetRules(noon, compileWith(t, c, d))
		send(g, noon, outsidePhones, "192.0.2.77", msg{}.bytes())
		x := g.Explain(noon, netip.MustParseAddr("192.0.2.77"))
		if len(x.Fix) != 1 || x.Fix[0] != want {
			t.Errorf("%q, want %q", x.Fix, want)
		}
		if c.MessageRules != nil && strings.Contains(x.Text(noon.Location()), "REGISTER: REFUSED  policy.message_rules") {
			t.Error("a rule on phones without a name is held against those with one")
		}
	}
}
