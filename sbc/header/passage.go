package header

import "strings"

// Passage tells, for the administrator, whether a header field passes one way by the allow list, and if not, why. trusted are the
// fields that pass from phones besides those of every phone.
func Passage(dir Direction, name string, trusted []string) (passes bool, why string) {
	r, listed := table[name]
	if !listed {
		r = extension(name)
	}
	h := Hosts{Trusted: trusted}
	if r.ways&(1<<dir) != 0 || dir == PhoneToPBX && r.ways&trunkIn != 0 && h.trusts(name) {
		return true, ""
	}
	switch name {
	case "Via", "Route", "Record-Route", "Contact", "Path", "Service-Route", "Max-Breadth":
		return false, "belongs to one hop: the gate has its own"
	case "Server", "User-Agent", "Organization":
		return false, "tells a product or its owner: never passes"
	case "WWW-Authenticate", "Proxy-Authenticate", "Authorization", "Proxy-Authorization", "Authentication-Info":
		return false, "credentials and challenges pass between phones and the PBX alone"
	}
	switch {
	case dir == PhoneToPBX && r.ways&trunkIn != 0:
		return false, "does not pass from phones, unless phones.trusted_headers names it"
	case r.ways != 0 && dir == PBXToTrunk:
		return false, "does not pass from the PBX to a trunk"
	case r.ways != 0:
		return false, "does not pass this way"
	case strings.HasPrefix(name, "X-"), strings.HasPrefix(name, "P-"):
		return false, "extensions pass from a trunk to the PBX alone"
	default:
		return false, "is not among the fields that pass"
	}
}
