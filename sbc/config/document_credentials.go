package config

import (
	"strings"

	"sallyport/sbc/digest"
	"sallyport/sbc/tu"
)

// CredentialsSection is an account that answers challenges (RFC 3261 §22): of the PBX where it asks calls of trunks for a password, or
// of a provider that knows us by address and asks all the same.
type CredentialsSection struct {
	Username string `yaml:"username" reload:"new calls"` // "": there is none
	Password Secret `yaml:"password" reload:"new calls"`
	Realm    Words  `yaml:"realm" reload:"new calls"` // whose challenges are answered; none: the domain of whom we call
}

// credentials checks an account; host is the realm where none is named, "" where none can be guessed.
func (c *checker) credentials(at string, s *CredentialsSection, host string) {
	if s.Username == "" {
		if !s.Password.IsZero() {
			c.fail(at+".username", "write the login that belongs to the password", "missing")
		}
		return
	}
	if s.Password.IsZero() {
		c.fail(at+".password", `write password: "file:/etc/sbc/trunk.secret"`, "missing")
	} else if c.secret(at+".password", &s.Password) {
		if err := digest.Check(s.account(host)); err != nil {
			c.fail(at, "write the login as it was given to you", "%s", err)
		}
	}
	if len(s.Realm) == 0 && host == "" {
		c.fail(at+".realm", "write what stands as realm in the challenges; `sbc why` shows it once one has come", "missing, and the peers have no name to take for it")
	}
	for i, r := range s.Realm {
		if r == "" || len(r) > 255 || strings.ContainsAny(r, "\r\n") {
			c.fail(index(at+".realm", i), "write what stands as realm in the challenges", "%q is no realm", r)
		}
	}
}

// trunkCredentials checks the account of a trunk that is known by its address.
func (c *checker) trunkCredentials(path string, t *TrunkEntry) {
	if t.registers() && t.Credentials.Username != "" {
		c.fail(path+".credentials", "remove the section: registration has the account, for calls too", "the trunk registers")
		return
	}
	c.credentials(path+".credentials", &t.Credentials, t.realm())
}

// realm is the name of a trunk, if its peers have one.
func (t *TrunkEntry) realm() string {
	for _, p := range t.Peers {
		if h := p.Address.Name.Host; h != "" {
			return h
		}
	}
	return ""
}

func (s *CredentialsSection) account(host string) tu.Account {
	a := tu.Account{Username: s.Username, Password: s.Password.value, Realms: s.Realm}
	if len(a.Realms) == 0 && host != "" {
		a.Realms = []string{host}
	}
	return a
}

// buildAccount is an account as the rooms have it; nil: there is none.
func buildAccount(s *CredentialsSection, host string) *tu.Account {
	if s.Username == "" {
		return nil
	}
	a := s.account(host)
	return &a
}
