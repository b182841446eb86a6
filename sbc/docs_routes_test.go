package sbc_test

import (
	"os"
	"strings"
	"testing"

	"sallyport/sbc"
	"sallyport/sbc/api"
	"sallyport/sbc/route"
)

// TestRoutesOfTheDocumentation: docs/trunks.md shows what `sbc route test` prints of its example.
func TestRoutesOfTheDocumentation(t *testing.T) {
	page, err := os.ReadFile("../docs/trunks.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(page), "```yaml\n# routes.yaml\n")
	yaml, text, ok := strings.Cut(text, "```\n")
	if !found || !ok {
		t.Fatal("no example")
	}
	snap := parse(t, yaml)
	asked := 0
	for _, part := range strings.Split(text, "$ sbc route test ")[1:] {
		command, shown, _ := strings.Cut(part, "\n")
		shown, _, _ = strings.Cut(shown, "```")
		args := strings.Fields(command)
		q := api.RouteQuestion{Number: args[0]}
		for i := 1; i+1 < len(args); i++ {
			switch args[i] {
			case "--from":
				q.From = args[i+1]
			case "--trunk":
				q.Trunk = args[i+1]
			}
		}
		answer, err := sbc.TestRoute(snap, q)
		if err != nil {
			t.Fatal(command, err)
		}
		if got := strings.TrimSpace(answer.Text()); got != strings.TrimSpace(shown) {
			t.Errorf("%s prints\n%s", command, got)
		}
		asked++
	}
	if asked < 3 {
		t.Errorf("%d examples", asked)
	}
	if list := strings.Join(route.Countries(), " "); !strings.Contains(strings.Join(strings.Fields(string(page)), " "), "Known countries: "+list+".") {
		t.Errorf("Known countries: %s.", list)
	}
}
