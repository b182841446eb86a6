package metrics

import (
	"context"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// seriesMost bounds the series of one family. The configuration bounds them much lower; this is for one that nobody expects.
const seriesMost = 2048

// answerTime is how long the core may take to answer.
const answerTime = time.Second

// Scrape is what one scrape finds. It is used by one goroutine.
type Scrape struct {
	series map[*Family]*list
	cut    int
}

// list is one family's series, in the order in which they came.
type list struct {
	at  map[string]int // by joined labels
	all []series
}

type series struct {
	labels []string
	value  float64
	hist   *Counts
}

// Add gives a family a value. Several of the same labels are added up, so that what the configuration names twice harms no
// scrape. Labels are in the order of the family; a wrong number of them is a fault of the program and panics.
func (s *Scrape) Add(f *Family, value float64, labels ...string) {
	if x := s.at(f, labels); x != nil {
		x.value += value
	}
}

// Flag is Add of 1 or 0.
func (s *Scrape) Flag(f *Family, is bool, labels ...string) {
	v := 0.0
	if is {
		v = 1
	}
	s.Add(f, v, labels...)
}

// Time is Add of a moment, in seconds since 1970; none is left out.
func (s *Scrape) Time(f *Family, t time.Time, labels ...string) {
	if !t.IsZero() {
		s.Add(f, float64(t.UnixMilli())/1e3, labels...)
	}
}

// States is Flag for each state of a closed list.
func (s *Scrape) States(f *Family, states []string, is string, labels ...string) {
	for _, state := range states {
		s.Flag(f, state == is, append(labels[:len(labels):len(labels)], state)...)
	}
}

// observed gives a histogram what was observed.
func (s *Scrape) observed(f *Family, c *Counts, labels ...string) {
	if x := s.at(f, labels); x != nil {
		x.hist = c
	}
}

// at finds the series of a family's labels, or makes it; nil: there is no room.
func (s *Scrape) at(f *Family, labels []string) *series {
	if len(labels) != len(f.Labels) {
		panic("metrics: " + f.Name + " wants the labels " + strings.Join(f.Labels, ", "))
	}
	l := s.series[f]
	if l == nil {
		l = &list{at: map[string]int{}}
		s.series[f] = l
	}
	key := strings.Join(labels, "\xff") // which no UTF-8 has
	i, known := l.at[key]
	if !known {
		if len(l.all) >= seriesMost {
			s.cut++
			return nil
		}
		i = len(l.all)
		l.at[key] = i
		clean := make([]string, len(labels))
		for k, v := range labels {
			clean[k] = strings.ToValidUTF8(v, "�") // anything else would spoil the whole scrape
		}
		l.all = append(l.all, series{labels: clean})
	}
	return &l.all[i]
}

// Source fills a scrape with what the program knows at the moment. It may be called from any goroutine, and several at a time.
type Source func(ctx context.Context, s *Scrape)

// collector asks a source at each scrape.
type collector struct{ source Source }

// Describe implements prometheus.Collector.
func (c collector) Describe(to chan<- *prometheus.Desc) {
	for _, f := range families {
		to <- f.desc
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	s := &Scrape{series: map[*Family]*list{}}
	c.source(ctx, s)
	s.Add(SeriesCut, float64(s.cut))
	for _, f := range families {
		l := s.series[f]
		if l == nil {
			continue
		}
		for i := range l.all {
			to <- l.all[i].metric(f)
		}
	}
}

// metric is a series as the library has it.
func (x *series) metric(f *Family) prometheus.Metric {
	var m prometheus.Metric
	var err error
	switch f.Kind {
	case Histogram:
		m, err = prometheus.NewConstHistogram(f.desc, x.hist.Count, x.hist.Sum, x.hist.Buckets, x.labels...)
	case Counter:
		m, err = prometheus.NewConstMetric(f.desc, prometheus.CounterValue, x.value, x.labels...)
	case Gauge:
		m, err = prometheus.NewConstMetric(f.desc, prometheus.GaugeValue, x.value, x.labels...)
	}
	if err != nil {
		return prometheus.NewInvalidMetric(f.desc, err)
	}
	return m
}
