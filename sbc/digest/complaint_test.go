package digest

import (
	"fmt"
	"strings"
	"testing"
)

// TestComplaint: each says what to do, and where.
func TestComplaint(t *testing.T) {
	for _, tt := range []struct {
		why  error
		want string
	}{
		{fmt.Errorf("%w: of x", ErrRefused), "the trunk refuses user name or password of here: "},
		{fmt.Errorf("%w: realm \"asterisk\"", ErrForeign), "the trunk got no password: "},
		{fmt.Errorf("%w: realm \"asterisk\"", ErrForeign), "write it into realm of here"},
		{ErrUnknown, "the trunk asks for a password in a way that we do not know: "},
	} {
		if got := Complaint(tt.why, "the trunk", "here"); !strings.Contains(got, tt.want) || !strings.Contains(got, tt.why.Error()) {
			t.Errorf("%q lacks %q", got, tt.want)
		}
	}
}
