package config

import (
	"cmp"
	"reflect"
	"slices"

	"sallyport/policy"
)

// shippedAgents is the list that counts where deny_user_agents is absent.
func shippedAgents() []AgentEntry {
	var out []AgentEntry
	for _, u := range policy.ShippedUserAgents() {
		var e AgentEntry
		e.setDefaults()
		e.Match, e.Mode = u.Match, cmp.Or(u.Mode, e.Mode)
		out = append(out, e)
	}
	return out
}

// isShipped reports whether a list is the shipped one, written out or not.
func isShipped(list []AgentEntry) bool { return slices.Equal(list, shippedAgents()) }

// shippedLimits is the list that counts where rate_limits is absent.
func shippedLimits() []RateEntry {
	var out []RateEntry
	for _, l := range policy.ShippedRateLimits() {
		var e RateEntry
		e.setDefaults()
		e.Name, e.Preset, e.PerPhone, e.Realms = l.Name, l.Preset, l.PerPhone, l.Realms
		for _, text := range l.Range {
			e.Range = append(e.Range, mustScope(text))
		}
		out = append(out, e)
	}
	return out
}

func mustScope(text string) Scope {
	var s Scope
	if err := s.UnmarshalText([]byte(text)); err != nil {
		panic(err) // a constant of policy
	}
	return s
}

// areShippedLimits reports whether a list is the shipped one, written out or not.
func areShippedLimits(list []RateEntry) bool { return reflect.DeepEqual(list, shippedLimits()) }
