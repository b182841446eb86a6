package config

import (
	"cmp"
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
