package sallyport_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
)

const (
	module = "sallyport"
	sipgo  = "github.com/emiago/sipgo"
)

// room is one line of the law of the house.
type room struct {
	imports string // rooms it may import besides the leaves, separated by spaces; "*" is every room, "-name" takes one away
	pure    bool   // state and functions only: now and ids are handed in
	why     string // printed with a breach, so that whoever meets the law also meets its reason
}

// leaves hold vocabulary only, and how it is spelt; every room may speak it.
var leaves = []string{"nat", "sbc/reason", "sbc/userpart"}

// house is the import law. A room that does not exist yet is skipped; a room that is missing here is a breach.
var house = map[string]room{
	"":                     {"", false, "the root holds the laws and no code, so nothing can come to depend on it"},
	"nat":                  {"", true, "it is the vocabulary of the gate; a leaf that imported a room would drag it into every other"},
	"sbc/reason":           {"", true, "the closed list of reasons is shared by metrics, logs, CDRs and why; it must stay a leaf"},
	"sbc/userpart":         {"", true, "who stands before the parser and who stands behind it must read a user in the same way"},
	"nat/natlab":           {"", false, "it stands for the network under any room's tests, so it can know none of them"},
	"nat/natlab/authority": {"", false, "it signs certificates for the tests of any room, so it can know none of them"},
	"sbc/scan":             {"", true, "the scan runs before anything is believed; it sees bytes only"},
	"sbc/resolve":          {"", false, "name resolution serves addresses and knows nobody who asks"},
	"media/sdp":            {"", true, "the SDP editor is lossless text work and is tested without a call"},
	"sbc/message":          {"sbc/scan", true, "a message view that knew its users could not be tested without them"},

	"sbc/transaction": {"sbc/message", true, "RFC 3261 puts transactions below their users; they know no call, socket or clock"},
	"sbc/dialog":      {"sbc/message", true, "a dialog is a value that a leg owns; it knows neither call nor transaction table"},
	"sbc/credentials": {"sbc/scan", true, "a replay judges guesses by the same lines as the running program, and has no parser of messages"},
	"sbc/digest":      {"sbc/message sbc/tu sbc/credentials", true, "authentication is a function of challenge and secret, and of what a user has sent"},
	"sbc/tu":          {"sbc/message sbc/credentials", true, "what the core and its users share may know neither of the two"},
	"sbc/header":      {"sbc/message sbc/tu media/sdp", true, "header policy and leak guard judge one message, whoever sends it"},
	"sbc/route":       {"sbc/tu sbc/message", true, "a plan is a function of rules and number; health and leases belong to sbc/trunk"},

	"sbc/call":      {userRooms + " media/sdp media/cname", true, "a user asks by Action and hears an Event; what it imported it could call behind the core's back"},
	"sbc/event":     {userRooms, true, "a user asks by Action and hears an Event; what it imported it could call behind the core's back"},
	"sbc/exchange":  {userRooms, true, "a user asks by Action and hears an Event; what it imported it could call behind the core's back"},
	"sbc/registrar": {userRooms + " sbc/credentials", true, "a user asks by Action and hears an Event; what it imported it could call behind the core's back"},
	"sbc/trunk":     {"sbc/tu sbc/message sbc/digest sbc/route", true, "peers are chosen by health and plan, never by looking into calls"},
	"sbc/silence":   {"sbc/trunk", true, "who is silent is counted from what left and what came; what follows from it is the assembler's"},

	"policy":          {"sbc/scan sbc/credentials policy/geo", false, "the guard decides on raw bytes before parsing; with the parser at hand a drop would begin to cost"},
	"policy/geo":      {"", true, "a country database is bytes that were read beforehand; it knows no rule and opens no file"},
	"policy/geo/pack": {"policy/geo", false, "the tool that packs a country database is of no use to a running gate"},
	"policy/feed":     {"", true, "a list that strangers wrote is parsed without anything at hand that it could harm"},
	"policy/toll":     {"", true, "who may call what is a function of rules, counts and time, tested without a call"},
	"policy/replay":   {"policy sbc/scan sbc/credentials", false, "a capture runs through the guard that runs on the wire, and through nothing else"},
	"sbc/transport":   {"sbc/scan sbc/message policy", false, "readers guard, parse and post; what a message means is the core's affair"},
	"media/ice":       {"", true, "answering a check is work on one datagram; it needs neither table nor socket"},
	"media/cname":     {"", true, "signalling and relay have to give a participant the same name, and know nothing of each other"},
	"media":           {"media/ice media/cname", false, "the relay knows no SIP, so that it can live in a process of its own"},
	"media/queue":     {"media", false, "commands wait for a thread without knowing what it carries"},
	"media/dtls":      {"media", false, "handshakes stand beside the packet path and see records, not calls"},
	"media/thread":    {"media media/dtls media/queue", false, "what all back ends' threads do alike sees commands and batches, never a datagram"},
	"media/epoll":     {"media media/thread", false, "a back end moves packets for the engine and knows nothing else"},
	"media/steer":     {"media media/thread", false, "a back end moves packets for the engine and knows nothing else"},
	"media/process":   {"media media/epoll", false, "the border between signalling and the relay carries commands, and nothing of calls"},
	"media/sim":       {"media", false, "a back end moves packets for the engine and knows nothing else"},
	"media/load":      {"media", false, "endpoints and floor measure any relay alike, so they can know none of them"},
	"media/rig":       {"media media/thread", false, "it asks the same of each back end, so it can know none of them"},
	"sbc/tu/script":   {"", false, "it plays the recorded runs of any user, so it can know none of them"},
	"sbc/core":        {"sbc/tu sbc/transaction sbc/message policy media", false, "the core knows no method: a user's room here would end that"},

	"sbc/cdr":      {"sbc/tu", false, "operations declare the interfaces they need, so that the core never waits for them"},
	"sbc/metrics":  {"sbc/tu", false, "operations declare the interfaces they need, so that the core never waits for them"},
	"sbc/trace":    {"sbc/tu", false, "operations declare the interfaces they need, so that the core never waits for them"},
	"sbc/capture":  {"sbc/api sbc/scan sbc/trace sbc/tu media policy", false, "captures look in through an interface of their own; a call or a core at hand could be waited for, or changed"},
	"sbc/store":    {"sbc/tu", false, "operations declare the interfaces they need, so that the core never waits for them"},
	"sbc/feed":     {"policy/feed", false, "fetching knows where lists come from and nothing of what they do"},
	"sbc/firewall": {"", false, "the kernel is told of bans; that it can be must not reach into the rules"},
	"sbc/api":      {"sbc/tu", false, "operations declare the interfaces they need, so that the core never waits for them"},

	"sbc/names":  {"sbc/config sbc/resolve", false, "what names lead to is put into the configuration; it knows nobody who makes something of that"},
	"sbc/config": {"* -sbc -sbc/names -sbc/demo -cmd/sbc -nat/natlab -nat/natlab/authority -sbc/tu/script -media/rig -media/load", true, "it reads the Config of every room; the assembler reads it, never the reverse"},
	"sbc":        {"* -sbc/demo -cmd/sbc -nat/natlab -nat/natlab/authority -sbc/tu/script -media/sim -media/rig -media/load", false, "the assembler sees all rooms, but nothing that exists for tests and demonstration"},
	"sbc/demo":   {"* -cmd/sbc", false, "the demonstration may use anything"},
	"cmd/sbc":    {"sbc sbc/config sbc/api sbc/demo policy policy/replay", false, "the command is wiring only; logic in it would have no tests"},
}

// userRooms is what a user of the core may know.
const userRooms = "sbc/tu sbc/dialog sbc/message sbc/header sbc/digest"

// parserless are the rooms in whose whole dependency tree the SIP parser may not appear.
var parserless = map[string]string{
	"nat":             "vocabulary must not cost its importer a parser",
	"sbc/reason":      "vocabulary must not cost its importer a parser",
	"sbc/scan":        "filter before parsing: what stands before the parser cannot need it",
	"sbc/credentials": "a replay reads captures without a parser, and judges by it",
	"policy":          "filter before parsing: what stands before the parser cannot need it",
	"media":           "the relay knows no SIP",
	"media/sdp":       "the SDP editor is no SIP code",
}

// goPackage is what `go list` tells of a package.
type goPackage struct {
	ImportPath string
	Dir        string
	Doc        string
	Name       string
	Imports    []string
	Deps       []string
}

// room is the package's name in the law.
func (p goPackage) room() string { return roomOf(p.ImportPath) }

func roomOf(path string) string { return strings.TrimPrefix(strings.TrimPrefix(path, module), "/") }

func own(path string) bool { return path == module || strings.HasPrefix(path, module+"/") }

// packages lists the module's packages once for all tests. A package that does not compile is listed all the same.
var packages = sync.OnceValues(func() ([]goPackage, error) {
	cmd := exec.Command("go", "list", "-e", "-deps", "-json=ImportPath,Dir,Doc,Name,Imports,Deps", "./...")
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	var list []goPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return list, nil
		} else if err != nil {
			return nil, err
		}
		if own(p.ImportPath) {
			list = append(list, p)
		}
	}
})

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	list, err := packages()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	if len(list) == 0 {
		t.Fatal("go list found no package: run the test from a checkout of the module")
	}
	return list
}

// allows reports whether law lets a room import target.
func (r room) allows(target string) bool {
	words := strings.Fields(r.imports)
	switch {
	case slices.Contains(words, "-"+target):
		return false
	case slices.Contains(leaves, target), slices.Contains(words, "*"):
		return true
	}
	return slices.Contains(words, target)
}

func TestImportLaw(t *testing.T) {
	for _, p := range listPackages(t) {
		law, known := house[p.room()]
		if !known {
			t.Errorf("%s: not a room of the house. Give it a line in law_test.go and docs/ARCHITECTURE.md, or put the code into "+
				"the room it belongs to: a room without a law is where walls begin to move", p.ImportPath)
			continue
		}
		for _, imp := range p.Imports {
			if own(imp) && !law.allows(roomOf(imp)) {
				t.Errorf("%s imports %s. Import law: it may import [%s] and the leaves %v: %s",
					p.ImportPath, imp, law.imports, leaves, law.why)
			}
		}
	}
}

func TestOnlyMessageImportsSipgo(t *testing.T) {
	for _, p := range listPackages(t) {
		switch p.room() {
		case "sbc/message", "sbc/demo", "nat/natlab":
			continue
		}
		for _, imp := range p.Imports {
			if imp == sipgo || strings.HasPrefix(imp, sipgo+"/") {
				t.Errorf("%s imports %s. Parser law: only sbc/message does (test agents and the demonstration apart): what the parser "+
					"loses or lets pass is repaired in one place, and it can be replaced there", p.ImportPath, imp)
			}
		}
	}
}

func TestParserStaysOutOfLowRooms(t *testing.T) {
	for _, p := range listPackages(t) {
		why, low := parserless[p.room()]
		if !low {
			continue
		}
		for _, dep := range p.Deps {
			if strings.HasPrefix(dep, sipgo) || dep == module+"/sbc/message" {
				t.Errorf("%s depends on %s. Layer law: %s", p.ImportPath, dep, why)
			}
		}
	}
}

func TestTestNetworkStaysInTests(t *testing.T) {
	for _, p := range listPackages(t) {
		if p.room() != "cmd/sbc" && p.room() != "sbc/demo" && slices.Contains(p.Deps, module+"/nat/natlab") {
			t.Errorf("%s depends on nat/natlab. Test-network law: only tests and the demonstration do, a product without "+
				"simulated sockets has one way to behave", p.ImportPath)
		}
	}
}

// props are rooms that tests alone have.
var props = map[string]string{
	"media/load":           "no gate has a traffic generator in it",
	"media/rig":            "no gate carries its back ends' tests",
	"nat/natlab/authority": "no gate carries an authority that signs whatever it is asked for",
	"sbc/tu/script":        "no gate plays recorded runs",
}

func TestPropsStayInTests(t *testing.T) {
	for _, p := range listPackages(t) {
		for room, why := range props {
			if slices.Contains(p.Deps, module+"/"+room) {
				t.Errorf("%s depends on %s. Props law: only tests do, %s", p.ImportPath, room, why)
			}
		}
	}
}

func TestEveryPackageIsIntroduced(t *testing.T) {
	for _, p := range listPackages(t) {
		if p.Name != "" && p.Doc == "" {
			t.Errorf("%s has no package comment. Documentation law: a room says what it is for, what it refuses to do and "+
				"which RFCs it implements", p.ImportPath)
		}
	}
}

// banned are package names that say nothing.
var banned = []string{"util", "utils", "common", "helper", "helpers", "manager", "types", "misc", "base", "lib"}

func TestNamesSaySomething(t *testing.T) {
	for _, p := range listPackages(t) {
		if slices.Contains(banned, p.Name) {
			t.Errorf("%s: package name %q. Name law: a name for everything collects everything; use the field's term",
				p.ImportPath, p.Name)
		}
	}
}

// TestTheMapHasEveryRoom: whoever looks for something begins at the list of rooms.
func TestTheMapHasEveryRoom(t *testing.T) {
	page, err := os.ReadFile("docs/ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(page), "\n## The house\n")
	list, _, _ = strings.Cut(list, "\n## ")
	named := strings.FieldsFunc(list, func(r rune) bool { return strings.ContainsRune(" \n;,:", r) })
	for _, p := range listPackages(t) {
		if room := p.room(); room != "" && !slices.Contains(named, room) && !slices.Contains(named, room+"/") {
			t.Errorf("docs/ARCHITECTURE.md does not have %s among the rooms. Map law: give it a line there that says what it is for", room)
		}
	}
}
