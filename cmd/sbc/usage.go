package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// What is typed wrongly, or half: each such error ends with how the verb is written and an example to copy.

// examples are for the verbs that want something.
var examples = map[string]string{
	"sbc why":            "sbc why 198.51.100.7    sbc why 201    sbc why +4930123456    sbc why itsp",
	"sbc bans add":       "sbc bans add 198.51.100.7 --for 1h --comment 'guesses passwords'",
	"sbc bans remove":    "sbc bans remove 198.51.100.7",
	"sbc policy test":    "sbc policy test --source 198.51.100.7 --message register.txt",
	"sbc route test":     "sbc route test +4930123456",
	"sbc geo lookup":     "sbc geo lookup 198.51.100.7",
	"sbc replay":         "sbc replay yesterday.pcapng --config new.yaml --against /etc/sbc/sbc.yaml",
	"sbc record":         "sbc record now.pcapng",
	"sbc capture":        "sbc capture 201 201.pcapng",
	"sbc limits suggest": "sbc limits suggest",
	"sbc trunks drain":   "sbc trunks drain itsp",
	"sbc trunks undrain": "sbc trunks undrain itsp",
	"sbc pbx drain":      "sbc pbx drain 10.0.0.10:5060",
	"sbc pbx undrain":    "sbc pbx undrain 10.0.0.10:5060",
	"sbc reload":         "sbc reload --diff    sbc reload --confirm 60s",
	"sbc check":          "sbc check /etc/sbc/sbc.yaml --live",
}

// soughtAs are words that administrators try first, by the verb that they mean.
var soughtAs = map[string][]string{
	"bans":          {"ban", "unban", "block", "unblock", "blacklist", "whitelist", "fail2ban"},
	"calls":         {"call", "channels", "cdr"},
	"capture":       {"tcpdump", "trace", "sngrep", "pcap", "dump"},
	"check":         {"init", "validate", "verify", "config", "doctor"},
	"drain":         {"stop", "shutdown", "maintenance"},
	"limits":        {"limit", "ratelimit", "suggest"},
	"policy":        {"rules", "firewall", "test"},
	"registrations": {"register", "registration", "phones", "users", "peers", "contacts"},
	"reload":        {"restart", "apply", "diff"},
	"route":         {"routes", "dial", "lcr"},
	"run":           {"start", "serve"},
	"status":        {"health", "info", "show", "stats"},
	"trunks":        {"trunk", "provider", "gateways"},
	"why":           {"explain", "debug", "diagnose", "log", "logs"},
}

// soughtBelow are such words for verbs below another one.
var soughtBelow = map[string][]string{
	"sbc bans add":       {"ban", "block"},
	"sbc bans remove":    {"delete", "del", "rm", "lift", "unban", "unblock", "clear"},
	"sbc pbx drain":      {"disable", "stop", "down"},
	"sbc pbx undrain":    {"enable", "resume", "start", "up"},
	"sbc trunks drain":   {"disable", "stop", "down"},
	"sbc trunks undrain": {"enable", "resume", "start", "up"},
}

// taught gives every verb its example and the words by which it is sought; verbs that only have others below them refuse what is none
// of these.
func taught(c *cobra.Command) *cobra.Command {
	if below, ok := soughtBelow[c.CommandPath()]; ok {
		c.SuggestFor = append(c.SuggestFor, below...)
	} else {
		c.SuggestFor = append(c.SuggestFor, soughtAs[c.Name()]...)
	}
	if example, ok := examples[c.CommandPath()]; ok {
		c.Example = "  " + example
	}
	if c.HasParent() && c.RunE == nil && c.Run == nil {
		c.Args, c.RunE = cobra.NoArgs, func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	for _, sub := range c.Commands() {
		taught(sub)
	}
	return c
}

// usageText is an error of usage with what to write instead.
func usageText(cmd *cobra.Command, err error) string {
	text := err.Error()
	switch n := cmd.Flags().NArg(); {
	case !strings.HasPrefix(text, "accepts ") && !strings.HasPrefix(text, "requires "):
	case n == 0:
		text = "something is missing"
	default:
		text = fmt.Sprintf("%d arguments are too few or too many", n)
	}
	if strings.HasPrefix(text, "unknown command") {
		text, _, _ = strings.Cut(text, "\n") // what cobra takes for similar is found again below, each once
		text += similar(cmd, text)
		return strings.TrimRight(text, "\n") + "\n  hint: " + cmd.CommandPath() + " --help lists what there is"
	}
	text = cmd.CommandPath() + ": " + text + "\n  usage: " + cmd.UseLine()
	if example := strings.TrimSpace(cmd.Example); example != "" {
		return text + "\n  hint: for example " + example
	}
	return text + "\n  hint: " + cmd.CommandPath() + " --help says more"
}

// meant are the verbs that an unknown word may stand for: those that are sought by it, else those that are spelled like it.
func meant(cmd *cobra.Command, word string) []string {
	for _, c := range cmd.Commands() {
		if slices.Contains(c.SuggestFor, word) {
			return []string{c.Name()}
		}
	}
	list := cmd.SuggestionsFor(word)
	slices.Sort(list)
	return slices.Compact(list)
}

// similar names the verbs below one that sound like what was typed; unknown is cobra's error.
func similar(cmd *cobra.Command, unknown string) string {
	var word string
	if n, err := fmt.Sscanf(unknown, "unknown command %q", &word); n == 0 || err != nil || !cmd.HasAvailableSubCommands() {
		return ""
	}
	if cmd.SuggestionsMinimumDistance <= 0 {
		cmd.SuggestionsMinimumDistance = 2
	}
	list := meant(cmd, word)
	if len(list) == 0 {
		return ""
	}
	return "\n\nDid you mean this?\n\t" + strings.Join(list, "\n\t") + "\n"
}
