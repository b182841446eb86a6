//go:build interop

package interop

import "testing"

// Who takes part in calls of user agents, and how two of them come to talk.

// seat is a telephone of a user agent.
type seat struct {
	*agentUser
	role, number string
}

// The roles of telephones, by where they are.
const (
	local   = "local"   // a telephone in the office
	roaming = "roaming" // a registered phone behind a NAT
	trunk   = "trunk"   // somebody whom the provider serves
)

// desks are telephones in the office, which call through its PBX.
func (w *world) desks(t *testing.T) *agentUser {
	t.Helper()
	return w.userAgent(t, nsInside, desk, node1+":5060", "DeskProduct", nil)
}

// ownPBX are telephones of a PBX that is the user agent itself.
func (w *world) ownPBX(t *testing.T) *agentUser {
	t.Helper()
	return w.userAgent(t, nsInside, node1, gateInside+":5080", "DeskProduct", nil)
}

// callers are those whom the provider serves, as the gate sees them: at the provider's address.
func (w *world) callers(t *testing.T) *agentUser {
	t.Helper()
	return w.userAgent(t, nsOutside, provider, gateOutside+":5080", "CallerProduct", nil)
}

// gets has a telephone dial, and fails the test unless somebody answers.
func (x seat) gets(t *testing.T, uri string, more ...string) *line {
	t.Helper()
	l := x.dial(x.number, uri, more...)
	l.wait(t, "answered", l.up)
	return l
}

// connects has a telephone dial a URI that leads to another one, which answers; the test ends where it does not.
func (x seat) connects(t *testing.T, to seat, uri string, more ...string) (mine, theirs *line) {
	t.Helper()
	mine = x.dial(x.number, uri, more...)
	theirs = to.comes(t, to.number)
	if theirs == nil || !mine.wait(t, "answered", mine.up) {
		mine.cancel()
		t.FailNow()
	}
	return mine, theirs
}
