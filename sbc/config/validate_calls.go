package config

import (
	"regexp"
	"strings"
	"time"
)

// The bounds of session timers: "The absolute minimum for the Session-Expires header field is 90 seconds" (RFC 4028 §4), and a
// timer of more than a day finds no call that anybody still remembers.
const (
	shortestSession = Duration(90 * time.Second)
	longestSession  = Duration(24 * time.Hour)
	shortestCall    = Duration(time.Minute)
)

func (c *checker) sessions(path string, d Duration) {
	c.span(path, d, shortestSession, longestSession, "0 to ask for none")
}

// longest checks the bound of a call's length.
func (c *checker) longest(path string, d Duration) {
	if d != 0 && d < shortestCall {
		c.fail(path, "write 12h, or 0 for no bound of our own", "%s would cut calls off", d)
	}
}

// codecRE is an encoding name of rtpmap (RFC 8866 §6.6: a token), without the clock behind it.
var codecRE = regexp.MustCompile(`^[A-Za-z0-9.!%*_+` + "`" + `\'~$&^#{}|-]{1,64}$`)

// besides are formats that are no codecs: they go with one, or, as events do, always pass.
var besides = []string{"telephone-event", "CN", "red", "rtx", "ulpfec", "flexfec", "flexfec-03", "parityfec"}

// codecs checks a list of encoding names. Any may be meant: new ones are registered each year.
func (c *checker) codecs(path string, list []string) {
	seen := map[string]bool{}
	for i, name := range list {
		at, plain := index(path, i), strings.ToLower(name)
		switch {
		case !codecRE.MatchString(name):
			c.fail(at, "write a name as rtpmap has it, without clock and channels: PCMA, G722, opus", "%q is not the name of a codec", name)
		case seen[plain]:
			c.fail(at, "remove it", "%q stands here twice", name)
		case isBesides(plain):
			c.warn(at, "remove it", "%s is no codec: it passes with the codecs that it goes with", name)
		}
		seen[plain] = true
	}
}

func isBesides(name string) bool {
	for _, b := range besides {
		if strings.EqualFold(b, name) {
			return true
		}
	}
	return false
}
