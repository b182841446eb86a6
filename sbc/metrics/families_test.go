package metrics

import (
	"context"
	"flag"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

var update = flag.Bool("update", false, "rewrite the table of docs/metrics.md")

const page = "../../docs/metrics.md"

// documented is the table of docs/metrics.md.
func documented() string {
	var b strings.Builder
	b.WriteString("<!-- metrics -->\n| metric | type | labels | meaning |\n|---|---|---|---|\n")
	for _, f := range Families() {
		labels := ""
		if len(f.Labels) > 0 {
			labels = "`" + strings.Join(f.Labels, "`, `") + "`"
		}
		b.WriteString("| `" + f.Name + "` | " + string(f.Kind) + " | " + labels + " | " + f.Help + " |\n")
	}
	return b.String() + "<!-- end -->\n"
}

// TestDocumented: the page has every metric with its type, labels and meaning, and no other.
func TestDocumented(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(text), "<!-- metrics -->\n")
	table, after, found := strings.Cut(rest, "<!-- end -->\n")
	if !found {
		t.Fatal("docs/metrics.md has no table between its marks")
	}
	want := documented()
	if *update {
		if err := os.WriteFile(page, []byte(before+want+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if "<!-- metrics -->\n"+table+"<!-- end -->\n" != want {
		t.Error("the table is not that of the program: run go test ./sbc/metrics -run TestDocumented -update")
	}
}

// forbidden are labels that a stranger could fill.
var forbidden = regexp.MustCompile(`source|number|aor|user|caller|callee|call_id|remote|agent|ip$`)

func TestFamilies(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range Families() {
		if seen[f.Name] {
			t.Errorf("%s is there twice", f.Name)
		}
		seen[f.Name] = true
		if !strings.HasPrefix(f.Name, "sbc_") || !strings.HasSuffix(f.Help, ".") {
			t.Errorf("%s: %q", f.Name, f.Help)
		}
		if (f.Kind == Counter) != strings.HasSuffix(f.Name, "_total") {
			t.Errorf("%s is a %s", f.Name, f.Kind)
		}
		for _, l := range f.Labels {
			if forbidden.MatchString(l) || slices.Contains([]string{"le", "quantile", "job", "instance"}, l) {
				t.Errorf("%s has the label %s", f.Name, l)
			}
		}
	}
	if len(seen) < 80 {
		t.Errorf("%d families", len(seen))
	}
}

// named are the metrics that a file of expressions speaks of.
func metricsIn(text string) []string {
	var out []string
	for _, name := range regexp.MustCompile(`\bsbc_[a-z0-9_]+`).FindAllString(text, -1) {
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// TestDashboardAndRules: what they show exists, with the labels that they use.
func TestDashboardAndRules(t *testing.T) {
	families := map[string]*Family{}
	for _, f := range Families() {
		families[f.Name] = f
	}
	of := func(name string) *Family {
		if f := families[name]; f != nil {
			return f
		}
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if base, ok := strings.CutSuffix(name, suffix); ok && families[base] != nil && families[base].Kind == Histogram {
				return families[base]
			}
		}
		return nil
	}
	selector := regexp.MustCompile(`\b(sbc_[a-z0-9_]+)\{([^}]*)\}`)
	label := regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)`)
	for _, name := range []string{"../../deploy/prometheus/sbc.rules.yml", "../../deploy/grafana/sbc.json", page} {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(raw), `\"`, `"`)
		if len(metricsIn(text)) < 10 {
			t.Errorf("%s shows little: %q", name, metricsIn(text))
		}
		for _, m := range metricsIn(text) {
			if of(m) == nil {
				t.Errorf("%s speaks of %s, which there is not", name, m)
			}
		}
		for _, m := range selector.FindAllStringSubmatch(text, -1) {
			f := of(m[1])
			for _, l := range label.FindAllStringSubmatch(regexp.MustCompile(`"[^"]*"`).ReplaceAllString(m[2], `""`), -1) {
				if f != nil && !slices.Contains(append([]string{"le", "instance", "job"}, f.Labels...), l[1]) {
					t.Errorf("%s: %s has no label %s", name, m[1], l[1])
				}
			}
		}
	}
}

// TestScrape: what is named twice is added up, foreign bytes spoil nothing, and a family that is full says so.
func TestScrape(t *testing.T) {
	source := func(_ context.Context, s *Scrape) {
		s.Add(Panics, 1, "core")
		s.Add(Panics, 2, "core")
		s.Add(RuleHits, 1, "r", "bad\xffname", "shadow")
		for i := range seriesMost + 7 {
			s.Add(TrunkCalls, 1, strings.Repeat("x", i))
		}
		s.States(NodeState, []string{"up", "down"}, "down", "n")
	}
	r := prometheus.NewRegistry()
	r.MustRegister(collector{source})
	found, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range found {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	for name, want := range map[string]float64{
		"sbc_panics_total core": 3, "sbc_policy_rule_hits_total shadow bad�name r": 1, "sbc_metrics_series_cut": 7,
		"sbc_node_state n down": 1, "sbc_node_state n up": 0,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s is %v (%v), want %v", name, v, ok, want)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a missing label is not noticed")
		}
	}()
	(&Scrape{series: map[*Family]*list{}}).Add(Panics, 1)
}
