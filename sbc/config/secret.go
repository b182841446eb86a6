package config

import (
	"errors"
	"io/fs"
	"os"
	"reflect"
	"regexp"
	"strings"

	"sallyport/sbc/tu"
)

// Secret is a password: file:PATH, ${NAME} of the environment, or, with a warning, the password itself. What it stands for is read
// when the configuration is checked, and never written anywhere: a reload reads it anew.
type Secret struct {
	text  tu.Password // as it is written
	value tu.Password // what it stands for, once it is read
}

var environmentRE = regexp.MustCompile(`^\$\{([A-Za-z_][A-Za-z0-9_]*)\}$`)

// UnmarshalText takes what is written.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = Secret{text: tu.NewPassword(string(text))}
	return nil
}

// MarshalText writes it as it was written.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.text.Reveal()), nil }

// IsZero reports whether there is none; the YAML writer asks.
func (s Secret) IsZero() bool { return s.text == tu.Password{} }

// same reports whether two are written alike and stand for the same.
func (s Secret) same(o Secret) bool { return s.text.Is(o.text) && s.value.Is(o.value) }

// String is where the password is found; a password itself is hidden.
func (s Secret) String() string {
	if s.IsZero() || s.stored() {
		return s.text.Reveal()
	}
	return "(hidden)"
}

// show is String in the flow style of the file.
func (s Secret) show() string { return show(reflect.ValueOf(s.String())) }

// shownAfter is show, which tells where it was something else although it stands at the same place.
func (s Secret) shownAfter(before Secret) string {
	if s.String() == before.String() {
		return s.show() + " (another one)"
	}
	return s.show()
}

// GoString keeps the password out of %#v.
func (s Secret) GoString() string { return s.String() }

// stored reports whether the text says where the password is.
func (s Secret) stored() bool {
	text := s.text.Reveal()
	return strings.HasPrefix(text, "file:") || environmentRE.MatchString(text)
}

// secret reads what a password stands for; false: it cannot be used, which has been said then. None is good.
func (c *checker) secret(path string, s *Secret) bool {
	text := s.text.Reveal()
	if text == "" || c.unread(path) {
		return text == ""
	}
	name, file := strings.CutPrefix(text, "file:")
	value := text
	switch {
	case file:
		value = c.secretFile(path, name)
	case environmentRE.MatchString(text):
		name = environmentRE.FindStringSubmatch(text)[1]
		if value = c.disk.environment(name); value == "" {
			c.fail(path, "set it where sbc is started, such as Environment= of the unit, or write file:/etc/sbc/trunk.secret",
				"the environment has no %s, or it is empty", name)
		}
	default:
		c.warn(path, "write file:/etc/sbc/trunk.secret, and the password into that file (chown root:sbc, chmod 0640)",
			"the password stands in the configuration, where whoever reads it or a copy of it sees it")
	}
	s.value = tu.NewPassword(value)
	return value != ""
}

// secretFile is the one line of a file that not everybody can read; "" is none, which has been said.
func (c *checker) secretFile(path, name string) string {
	if !strings.HasPrefix(name, "/") {
		c.fail(path, "write file: and the whole path, from /", "%q is not an absolute path", name)
		return ""
	}
	data, mode, err := c.disk.read(name)
	text := strings.TrimRight(string(data), "\r\n")
	switch {
	case errors.Is(err, fs.ErrPermission):
		c.fail(path, "let the user that runs sbc read it: chown root:sbc, chmod 0640", "%s: %s", name, err)
	case err != nil:
		c.fail(path, "write the password, and nothing else, into that file", "%s: %s", name, err)
	case mode.Perm()&0o007 != 0:
		c.fail(path, "chown root:sbc "+name+" and chmod 0640 it; if it was readable for long, change the password",
			"%s is open to every user of this machine (%#o)", name, mode.Perm())
	case text == "":
		c.fail(path, "write the password into it", "%s is empty", name)
	case strings.ContainsAny(text, "\r\n"):
		c.fail(path, "write the password, and nothing else, into that file", "%s has more than one line", name)
	default:
		return text
	}
	return ""
}

// environment is a variable of the program's environment.
func (machine) environment(name string) string { return os.Getenv(name) }
