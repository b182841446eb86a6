package config

import (
	"errors"
	"io/fs"
	"net/url"
	"strings"
)

// shortestFetch keeps fetching from becoming a burden on who offers the list.
const shortestFetch = Duration(60e9)

func (c *checker) feeds() {
	names := ruleNames{}
	for i := range c.doc.Policy.Feeds {
		at, e := index("policy.feeds", i), &c.doc.Policy.Feeds[i]
		switch {
		case e.Name != "" && !nameRE.MatchString(e.Name): // its last good copy is kept in a file of that name
			c.fail(at+".name", "use letters, digits, dot, dash and underscore, at most 64", "%q is not a name", e.Name)
		default:
			names.check(c, at, e.Name, "blocklist", "its last good copy is kept by it")
		}
		c.words(at+".realms", e.Realms, true)
		c.lasting(at+".every", e.Every, shortestFetch, Duration(30)*longestExpiry)
		switch {
		case e.URL != "" && e.File != "":
			c.fail(at+".file", "keep one of the two", "stands beside url: a feed has one source")
		case e.URL != "":
			c.feedURL(at+".url", e.URL)
		case e.File != "":
			c.feedFile(at+".file", e.File)
		default:
			c.fail(at+".url", "write url: https://lists.example.net/sip.txt, or file: /etc/sbc/blocklist.txt", "missing")
		}
	}
}

func (c *checker) feedURL(path, text string) {
	const hint = "write https://host/path"
	u, err := url.Parse(text)
	switch {
	case err != nil || strings.ContainsAny(text, " \t\r\n"):
		c.fail(path, hint, "%q is not a URL", text)
	case u.Scheme != "https" && u.Scheme != "http":
		c.fail(path, hint+"; a file stands under the key file", "%q is neither https nor http", text)
	case u.Hostname() == "":
		c.fail(path, hint, "%q names no host", text)
	case u.User != nil:
		c.fail(path, "fetch the list by other means and name it under the key file", "a password in a URL would stand in logs and diffs")
	case u.Scheme == "http":
		c.warn(path, "write https if the host offers it", "over plain http whoever stands between can write the list")
	}
}

// feedFile warns of a file that is not there: another program may write it later.
func (c *checker) feedFile(path, name string) {
	if !strings.HasPrefix(name, "/") {
		c.absolute(path, name)
		return
	}
	err := c.disk.probe(name)
	switch {
	case errors.Is(err, fs.ErrPermission):
		c.fail(path, "let the user that runs sbc read it: chown root:sbc, chmod 0640", "%s: %s", name, err)
	case err != nil:
		c.warn(path, "write it, one address or prefix a line; it is read as soon as it is there", "%s: %s", name, err)
	}
}

func (c *checker) countries() {
	const at, database = "policy.countries", "policy.countries.database"
	g := &c.doc.Policy.Countries
	c.words(at+".realms", g.Realms, true)
	seen := map[Country]bool{}
	for i, code := range g.List {
		if seen[code] {
			c.fail(index(at+".list", i), "remove it", "%s stands here twice", code)
		}
		seen[code] = true
	}
	switch {
	case len(g.List) > 0:
	case g.Mode == "allow":
		c.fail(at+".list", "name the countries that may come in, or write mode: deny", "mode allow with an empty list would refuse every country")
	case g.Unknown == "deny":
		c.fail(at+".unknown", "name countries in list, or remove it", "denies nothing while list is empty")
	}
	wants, wanted := c.doc.Policy.wantsCountries()
	switch {
	case g.Database == "" && wanted:
		c.fail(wants, "write policy: { countries: { database: /usr/share/tor/geoip } }; a .mmdb file of GeoLite2 or DB-IP, text and CSV can be read",
			"countries need a database, and none is named")
		return
	case g.Database == "":
		return
	case !strings.HasPrefix(g.Database, "/"):
		c.absolute(database, g.Database)
		return
	}
	err := c.disk.probe(g.Database)
	switch {
	case errors.Is(err, fs.ErrPermission):
		c.fail(database, "let the user that runs sbc read it: chmod 0644", "%s: %s", g.Database, err)
	case err != nil:
		c.fail(database, "install one (apt install tor-geoipdb gives /usr/share/tor/geoip), or name another", "%s: %s", g.Database, err)
	}
}
