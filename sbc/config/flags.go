package config

import (
	"encoding"
	"errors"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// DefaultPath is the file that is read where nothing else is said.
const DefaultPath = "/etc/sbc/sbc.yaml"

// Flags are the flags of `sbc run` as they were typed. They go over the file: scalars override, Trunk and PBX merge by
// name or address, the other lists replace the file's. A reload keeps them.
type Flags struct {
	Outside   string   // outside.address; two, one per family, with a comma
	External  string   // outside.external_address; likewise
	Inside    string   // inside.address; likewise
	PBX       []string // pbx.nodes: address or address:port
	Domain    string   // pbx.domain
	Trunk     []string // trunks: name=address:port
	Internal  []string // internal_ranges
	RTPPorts  string   // media.ports
	BlockUA   []string // policy.deny_user_agents
	Limit     []string // METHOD=N/unit: one rule "command line" in front of policy.rate_limits
	WhiteList []string // policy.white_list
	Admin     string   // admin.http
	Config    string   // the file
	Socket    string   // admin.socket
	StateDir  string   // state.directory, and what the file places nowhere: see stateDirs
}

// Bind adds the flags to a flag set. Lists take one value a flag: a comma may stand in a User-Agent.
func (f *Flags) Bind(set *pflag.FlagSet) {
	set.StringVar(&f.Outside, "outside", "", "address towards the Internet")
	set.StringVar(&f.External, "external", "", "what the world sees instead, behind 1:1 NAT")
	set.StringVar(&f.Inside, "inside", "", "address towards the PBX")
	set.StringArrayVar(&f.PBX, "pbx", nil, "`address[:port]` of a PBX node (repeats)")
	set.StringVar(&f.Domain, "domain", "", "SIP domain of the PBX")
	set.StringArrayVar(&f.Trunk, "trunk", nil, "provider as `name=address[:port]` (repeats)")
	set.StringArrayVar(&f.Internal, "internal", nil, "internal `range`, not NATed (repeats; replaces the file's list)")
	set.StringVar(&f.RTPPorts, "rtp-ports", "", "UDP ports for media as `first-last`")
	set.StringArrayVar(&f.BlockUA, "block-ua", nil, "`text` of a User-Agent to drop (repeats; replaces the list)")
	set.StringArrayVar(&f.Limit, "limit", nil, "rate limit of each source as `METHOD=N/unit` (repeats)")
	set.StringArrayVar(&f.WhiteList, "white-list", nil, "`range` that is never limited or banned (repeats; replaces the list)")
	set.StringVar(&f.Admin, "admin", "", "`address:port` where metrics and health are read by HTTP")
	set.StringVar(&f.Config, "config", "", "configuration `file` (default "+DefaultPath+", unless other flags describe the deployment)")
	set.StringVar(&f.Socket, "socket", "", "admin socket `path`")
	set.StringVar(&f.StateDir, "state-dir", "", "`directory` of what is kept (default /var/lib/sbc); call records and captures go below it unless the file places them")
}

// Path is the file to read: the one named, none if flags describe the deployment, else DefaultPath.
func (f *Flags) Path() string {
	switch {
	case f.Config != "":
		return f.Config
	case f.describes():
		return ""
	}
	return DefaultPath
}

func (f *Flags) describes() bool {
	return f.Outside+f.External+f.Inside+f.Domain+f.RTPPorts != "" ||
		len(f.PBX)+len(f.Trunk)+len(f.Internal)+len(f.BlockUA)+len(f.Limit)+len(f.WhiteList) > 0
}

// overlay puts flags over a document.
type overlay struct {
	doc    *Document
	from   *origin
	report *Report
}

func (f *Flags) apply(doc *Document, from *origin, report *Report) {
	o := &overlay{doc: doc, from: from, report: report}
	o.addrs("--outside", "outside.address", f.Outside, &doc.Outside.Address)
	overlayAddrs[Public](o, "--external", "outside.external_address", f.External, (*[]Public)(&doc.Outside.ExternalAddress))
	o.addrs("--inside", "inside.address", f.Inside, &doc.Inside.Address)
	if f.Domain != "" {
		doc.PBX.Domain = f.Domain
		from.fromFlag("pbx.domain", "--domain")
	}
	if f.RTPPorts != "" && o.read("--rtp-ports", "media.ports", f.RTPPorts, doc.Media.Ports.UnmarshalText) {
		from.fromFlag("media.ports", "--rtp-ports")
	}
	if f.Socket != "" {
		doc.Admin.Socket = f.Socket
		from.fromFlag("admin.socket", "--socket")
	}
	if f.Admin != "" {
		doc.Admin.HTTP = f.Admin
		from.fromFlag("admin.http", "--admin")
	}
	o.stateDirs(f.StateDir)
	o.nodes(f.PBX)
	o.trunks(f.Trunk)
	o.lists(f)
	o.limits(f.Limit)
}

// stateDirs puts all that is written into one directory, so that one flag is enough for a user who has no right to /var. What the file
// places stays there.
func (o *overlay) stateDirs(dir string) {
	if dir == "" {
		return
	}
	const flag = "--state-dir"
	o.doc.State.Directory = dir
	o.from.fromFlag("state.directory", flag)
	for _, d := range []struct {
		key, below string
		into       *string
	}{
		{"cdr.directory", "cdr", &o.doc.CDR.Directory}, {"policy.capture.directory", "captures", &o.doc.Policy.Capture.Directory},
	} {
		if path.IsAbs(dir) && !o.from.given(d.key) { // else one complaint is enough
			*d.into = path.Join(dir, d.below)
			o.from.fromFlag(d.key, flag)
		}
	}
}

// read decodes one value of a flag; it reports whether it could.
func (o *overlay) read(flag, path, text string, decode func([]byte) error) bool {
	err := decode([]byte(text))
	if err == nil {
		return true
	}
	p := Problem{Flag: flag, Path: path, What: err.Error()}
	if bad, ok := errors.AsType[*valueError](err); ok {
		p.Hint = bad.hint
	}
	o.report.fail(p)
	return false
}

func (o *overlay) addrs(flag, path, text string, into *Addrs) {
	overlayAddrs[Addr](o, flag, path, text, (*[]Addr)(into))
}

// overlayAddrs reads addresses with commas between them.
func overlayAddrs[T any, P interface {
	*T
	encoding.TextUnmarshaler
}](o *overlay, flag, path, text string, into *[]T) {
	if text == "" {
		return
	}
	var list []T
	for part := range strings.SplitSeq(text, ",") {
		var a T
		if !o.read(flag, path, strings.TrimSpace(part), P(&a).UnmarshalText) {
			return
		}
		list = append(list, a)
	}
	*into = list
	o.from.fromFlag(path, flag)
}

// nodes merges --pbx by address.
func (o *overlay) nodes(list []string) {
	for _, text := range list {
		var at Endpoint
		if !o.read("--pbx", "pbx.nodes", text, at.UnmarshalText) {
			continue
		}
		if slices.ContainsFunc(o.doc.PBX.Nodes, func(n NodeEntry) bool { return n.Address.same(at) }) {
			continue
		}
		var n NodeEntry
		n.setDefaults()
		n.Address = at
		o.from.fromFlag(index("pbx.nodes", len(o.doc.PBX.Nodes)), "--pbx")
		o.doc.PBX.Nodes = append(o.doc.PBX.Nodes, n)
	}
}

// trunks merges --trunk by name: a known trunk gets this one peer, another one is added. A name that repeats among the
// flags adds a peer.
func (o *overlay) trunks(list []string) {
	fresh := map[string]bool{}
	for _, text := range list {
		name, address, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			o.report.fail(Problem{Flag: "--trunk", Path: "trunks", What: strconv.Quote(text) + " has no name",
				Hint: "write --trunk name=address:port, such as --trunk itsp=203.0.113.20:5060"})
			continue
		}
		var at Endpoint
		if !o.read("--trunk", "trunks", address, at.UnmarshalText) {
			continue
		}
		var peer PeerEntry
		peer.setDefaults()
		peer.Address = at
		i := o.trunk(name)
		t := &o.doc.Trunks[i]
		if !fresh[name] {
			t.Peers = nil
			fresh[name] = true
			o.from.fromFlag(index("trunks", i)+".peers", "--trunk")
		}
		t.Peers = append(t.Peers, peer)
	}
}

// trunk is the index of a trunk, which is added if the file has none of that name.
func (o *overlay) trunk(name string) int {
	for i := range o.doc.Trunks {
		if o.doc.Trunks[i].Name == name {
			return i
		}
	}
	var t TrunkEntry
	t.setDefaults()
	t.Name = name
	o.from.fromFlag(index("trunks", len(o.doc.Trunks)), "--trunk")
	o.doc.Trunks = append(o.doc.Trunks, t)
	return len(o.doc.Trunks) - 1
}

// lists replaces the lists that flags replace as a whole.
func (o *overlay) lists(f *Flags) {
	if len(f.Internal) > 0 {
		o.doc.InternalRanges = overlayList[Range](o, "--internal", "internal_ranges", f.Internal)
	}
	if len(f.WhiteList) > 0 {
		list := []WhiteEntry{}
		for _, s := range overlayList[Scope](o, "--white-list", "policy.white_list", f.WhiteList) {
			var e WhiteEntry
			e.setDefaults()
			e.Range = Scopes{s}
			list = append(list, e)
		}
		o.doc.Policy.WhiteList = list
	}
	if len(f.BlockUA) > 0 {
		list := []AgentEntry{}
		for _, text := range f.BlockUA {
			var e AgentEntry
			e.setDefaults()
			e.Match = text
			list = append(list, e)
		}
		o.doc.Policy.DenyUserAgents = list
		o.from.fromFlag("policy.deny_user_agents", "--block-ua")
	}
}

// overlayList reads the values of a flag, each of which may hold several with commas.
func overlayList[T any, P interface {
	*T
	encoding.TextUnmarshaler
}](o *overlay, flag, path string, texts []string) []T {
	list := []T{}
	for _, text := range texts {
		for part := range strings.SplitSeq(text, ",") {
			var v T
			if o.read(flag, path, strings.TrimSpace(part), P(&v).UnmarshalText) {
				list = append(list, v)
			}
		}
	}
	o.from.fromFlag(path, flag)
	return list
}

// limits puts the rule "command line" in front of the rate limits.
func (o *overlay) limits(list []string) {
	if len(list) == 0 {
		return
	}
	var e RateEntry
	e.setDefaults()
	e.Name, e.Range, e.Limits = "command line", anywhere(), map[string]Rate{}
	for _, text := range list {
		method, rate, ok := strings.Cut(text, "=")
		var r Rate
		switch {
		case !ok:
			o.report.fail(Problem{Flag: "--limit", Path: "policy.rate_limits", What: strconv.Quote(text) + " is not METHOD=N/unit",
				Hint: "write --limit INVITE=10/minute"})
			continue
		case hasKey(e.Limits, method):
			o.report.fail(Problem{Flag: "--limit", Path: "policy.rate_limits", What: "two limits for " + method,
				Hint: "keep one of the two"})
			continue
		}
		if err := r.UnmarshalText([]byte(rate)); err != nil {
			o.report.fail(Problem{Flag: "--limit", Path: "policy.rate_limits", What: err.Error(), Hint: rateHint})
			continue
		}
		e.Limits[method] = r
	}
	o.shift(len(o.doc.Policy.RateLimits))
	o.doc.Policy.RateLimits = slices.Insert(o.doc.Policy.RateLimits, 0, e)
	o.from.fromFlag(index("policy.rate_limits", 0), "--limit")
}

func hasKey[V any](m map[string]V, k string) bool {
	_, ok := m[k]
	return ok
}

// shift moves the places of n rate limits one further, since one was put in front of them.
func (o *overlay) shift(n int) {
	const list = "policy.rate_limits["
	moved := map[string]position{}
	for path, at := range o.from.at {
		rest, ok := strings.CutPrefix(path, list)
		if !ok {
			continue
		}
		index, tail, _ := strings.Cut(rest, "]")
		if i, err := strconv.Atoi(index); err == nil && i < n {
			moved[list+strconv.Itoa(i+1)+"]"+tail] = at
			delete(o.from.at, path)
		}
	}
	for path, at := range moved {
		o.from.at[path] = at
	}
}
