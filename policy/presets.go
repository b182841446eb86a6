package policy

import (
	"fmt"
	"strconv"
	"strings"
)

// quota is one limit of a preset: a rate, and how many messages at once.
type quota struct {
	rate  string
	burst int // 0: Rate.DefaultBurst
}

// blfBurst is how many SUBSCRIBEs a phone sends in one go when it starts: one for the state of each of its line keys.
const blfBurst = 20

// odd is the key of a preset for what it does not name: MESSAGE, PUBLISH, REFER, NOTIFY and INFO that belong to no call, and
// methods that nobody knows. What belongs to a call or a subscription is not charged, the CANCEL of a call included. A phone
// that publishes its state does so three or four times a call (RFC 3903 §4.4), and one that keeps its NAT open by NOTIFY
// sends four a minute.
const odd = "*"

// singlePhone is one phone alone behind its address.
var singlePhone = map[string]quota{
	"REGISTER": {"6/minute", 0}, "INVITE": {"20/minute", 0}, "SUBSCRIBE": {"5/minute", blfBurst}, "OPTIONS": {"5/minute", 0},
	"ACK": {"10/second", 0}, odd: {"10/minute", 10},
}

// home is the two or three phones of a household.
var home = map[string]quota{
	"REGISTER": {"15/minute", 0}, "INVITE": {"10/minute", 0}, "SUBSCRIBE": {"20/minute", blfBurst}, "OPTIONS": {"10/minute", 0},
	"ACK": {"20/second", 0}, odd: {"20/minute", 20},
}

// trunkPreset is a provider's or another exchange's trunk. It is five times what a large one carries (ten calls a second),
// so that it only ever meets what has gone wild: a loop, or a dialler let loose. A trunk's capacity is the business of
// trunks[].capacity, which answers as providers expect; a limit that bites in the busy hour would turn calls away without
// a word. OPTIONS: several hosts of a provider ask from one address every few seconds. `*`: after a restart of ours the
// requests of all calls in progress are no longer known as theirs.
var trunkPreset = map[string]quota{
	"INVITE": {"50/second", 0}, "OPTIONS": {"10/second", 0}, "REGISTER": {"1/second", 0}, "SUBSCRIBE": {"10/second", 0},
	"ACK": {"100/second", 0}, odd: {"100/second", 0},
}

// mostPhones is the largest office: as many phones as the program keeps bindings of.
const mostPhones = 25_000

// parsePreset reads the value of a `preset` key: its limits, each to be multiplied by times, rate and burst alike.
func parsePreset(text string) (limits map[string]quota, times int, err error) {
	switch text {
	case "single-phone":
		return singlePhone, 1, nil
	case "home":
		return home, 1, nil
	case "trunk":
		return trunkPreset, 1, nil
	}
	if count, office := strings.CutPrefix(text, "office:"); office {
		n, err := strconv.Atoi(count)
		if err != nil || n < 1 || n > mostPhones {
			return nil, 0, fmt.Errorf("preset %q: write the number of phones behind the address, from 1 to %d, as in office:14",
				text, mostPhones)
		}
		return singlePhone, n, nil
	}
	return nil, 0, fmt.Errorf("preset %q is unknown; use single-phone, home, office:14 (the number of phones) or trunk", text)
}

// quotas are the limits of a rule by method, its preset or what it lists.
func (e *RateLimitConfig) quotas() map[string]quota {
	out := make(map[string]quota, len(e.Limits))
	if e.Preset == "" {
		for method, rate := range e.Limits {
			q := quota{rate: rate}
			if e.Burst != nil {
				q.burst = *e.Burst
			}
			out[method] = q
		}
		return out
	}
	limits, times, _ := parsePreset(e.Preset)
	for method, q := range limits {
		r, burst := q.read()
		r.Count *= times
		out[method] = quota{r.String(), burst * times}
	}
	return out
}

// read is the quota in numbers. It has been validated.
func (q quota) read() (Rate, int) {
	r, _ := ParseRate(q.rate)
	if q.burst == 0 {
		return r, r.DefaultBurst()
	}
	return r, q.burst
}

// ShippedRateLimits is the list in force where rate_limits is absent.
func ShippedRateLimits() []RateLimitConfig {
	return []RateLimitConfig{{Name: "shipped", Range: []string{"any"}, Realms: []string{"phones"}, Preset: "home", PerPhone: true}}
}

// shippedLimitsText is the shipped list as an administrator writes it out, beside a rule of one's own.
const shippedLimitsText = "{ name: shipped, realms: [phones], preset: home, per_phone: true }"

// rateLimits are the rules in force: what the file lists, or the shipped one.
func (c *Config) rateLimits() (list []RateLimitConfig, shipped bool) {
	if c.RateLimits == nil {
		return ShippedRateLimits(), true
	}
	return c.RateLimits, false
}
