package metrics

import "github.com/prometheus/client_golang/prometheus"

// Kind is what a family's values are.
type Kind string

// The kinds, in the words of the exposition format.
const (
	Gauge     Kind = "gauge"
	Counter   Kind = "counter"
	Histogram Kind = "histogram"
)

// Family is one metric of the program: a name that never changes its meaning, and its labels.
type Family struct {
	Name, Help string
	Kind       Kind
	Labels     []string
	desc       *prometheus.Desc
}

// families are all there are, in the order of the documentation. Only this package adds to it, as it is initialised.
var families []*Family

// Families lists the metrics of the program, those of the Go runtime and of the process apart.
func Families() []*Family { return families }

func family(kind Kind, name, help string, labels []string) *Family {
	f := &Family{Name: name, Help: help, Kind: kind, Labels: labels, desc: prometheus.NewDesc(name, help, labels, nil)}
	families = append(families, f)
	return f
}

func gauge(name, help string, labels ...string) *Family   { return family(Gauge, name, help, labels) }
func counter(name, help string, labels ...string) *Family { return family(Counter, name, help, labels) }
func histogram(name, help string, labels ...string) *Family {
	return family(Histogram, name, help, labels)
}
