package header

import (
	"slices"
	"strings"

	"sallyport/sbc/message"
)

// Direction is the way one message goes: a request of a provider and the response to a request of the PBX both go
// TrunkToPBX.
type Direction uint8

// The directions.
const (
	TrunkToPBX Direction = iota
	PBXToTrunk
	PhoneToPBX
	PBXToPhone
)

// Hosts are the host parts, host or host:port, that stand in a message towards its receiver.
type Hosts struct {
	RequestURI string
	From       string
	To         string
	Identity   string // in P-Asserted-Identity and its kin, and as the agent of a Warning
	// Trusted are fields that pass from this phone besides those of every phone, in any case. Only what may pass from a
	// trunk counts: identities, Alert-Info and the like, X-* and P-*; never what belongs to one hop, nor credentials.
	Trusted []string
	// User is the user behind a token of ours; nil: there are no tokens.
	User func(token string) (user string, ok bool)
}

// Behind is a URI with the name in the place of a token: the PBX knows a phone by our Contact, and means its user.
func (h *Hosts) Behind(u message.URI) message.URI {
	if h.User == nil || u.Scheme != "sip" && u.Scheme != "sips" || u.User == "" {
		return u
	}
	if user, ok := h.User(u.User); ok {
		u.User = user
	}
	return u
}

// trusts reports whether a phone may send a field that phones may not.
func (h *Hosts) trusts(name string) bool {
	return slices.ContainsFunc(h.Trusted, func(t string) bool { return strings.EqualFold(t, name) })
}

// ways is a set of directions.
type ways uint8

const (
	trunkIn  ways = 1 << TrunkToPBX
	trunkOut ways = 1 << PBXToTrunk
	phoneIn  ways = 1 << PhoneToPBX
	phoneOut ways = 1 << PBXToPhone

	always   = trunkIn | trunkOut | phoneIn | phoneOut
	trunks   = trunkIn | trunkOut
	noPhones = trunks | phoneOut // not what a phone sends
)

// rule says which way a header field passes, and how its value is changed on the way.
type rule struct {
	ways ways
	edit func(value string, h *Hosts) (string, bool) // nil: as it is; false: the field does not pass
	body bool                                        // says something of the body, and passes only with one
}

// table is the allow list. What is not in it does not pass, but for the trunk's own extensions (see extension).
var table = map[string]rule{
	"Accept":                   {ways: always},
	"Accept-Contact":           {ways: always},
	"Accept-Encoding":          {ways: always},
	"Accept-Language":          {ways: always},
	"Allow":                    {ways: always, edit: allow},
	"Supported":                {ways: always, edit: optionTags},
	"Require":                  {ways: always, edit: optionTags},
	"Unsupported":              {ways: always},
	"Content-Disposition":      {ways: always, body: true},
	"Content-Encoding":         {ways: always, body: true},
	"Content-Language":         {ways: always, body: true},
	"MIME-Version":             {ways: always, body: true},
	"Subject":                  {ways: always},
	"Priority":                 {ways: always},
	"Reason":                   {ways: always},
	"Privacy":                  {ways: always},
	"Date":                     {ways: always},
	"Event":                    {ways: always},
	"Referred-By":              {ways: always, edit: referredBy}, // RFC 3892
	"Refer-Sub":                {ways: always},                   // RFC 4488
	"Subscription-State":       {ways: always},                   // a NOTIFY without it is none (RFC 6665 §4.1.3)
	"Expires":                  {ways: always},
	"Min-Expires":              {ways: always},
	"SIP-ETag":                 {ways: always}, // RFC 3903: without them a refresh would be another publication
	"SIP-If-Match":             {ways: always},
	"Allow-Events":             {ways: always},
	"Info-Package":             {ways: always}, // RFC 6086
	"Recv-Info":                {ways: always},
	"Retry-After":              {ways: always},
	"Warning":                  {ways: always, edit: warning},
	"P-Early-Media":            {ways: always},
	"User-to-User":             {ways: always},
	"Geolocation":              {ways: always},
	"Geolocation-Error":        {ways: always},
	"Geolocation-Routing":      {ways: always},
	"Resource-Priority":        {ways: noPhones}, // RFC 4412: whose calls go first, the PBX and the provider agree upon
	"Accept-Resource-Priority": {ways: always},
	"Alert-Info":               {ways: noPhones},
	"Call-Info":                {ways: noPhones},
	"Identity":                 {ways: trunks}, // RFC 8224: signs numbers and date, which pass unchanged
	"P-Asserted-Identity":      {ways: noPhones, edit: identity},
	"P-Preferred-Identity":     {ways: always, edit: identity},
	"Remote-Party-ID":          {ways: noPhones, edit: identity},
	"Diversion":                {ways: noPhones, edit: identity},
	"History-Info":             {ways: noPhones, edit: identity},
	"P-Called-Party-ID":        {ways: trunkIn, edit: identity},
	"P-Served-User":            {ways: trunkIn, edit: identity},
	"P-Associated-Uri":         {ways: trunkIn, edit: identity},
	"Authorization":            {ways: phoneIn}, // digests are between phone and PBX, byte for byte
	"Proxy-Authorization":      {ways: phoneIn},
	"WWW-Authenticate":         {ways: phoneOut, edit: challenge},
	"Proxy-Authenticate":       {ways: phoneOut, edit: challenge},
	"Authentication-Info":      {ways: phoneOut},
	"P-Charging-Vector":        {ways: trunkIn, edit: charging},
	"P-Access-Network-Info":    {ways: trunkIn},

	// The addresses of the provider's charging functions concern nobody but the provider (RFC 7315 §4.5).
	"P-Charging-Function-Addresses": {},
}

// extension is the rule of a field that the table does not know: X-* and P-* pass from a trunk to the PBX, where
// providers put what their customers asked for; nothing else passes anywhere.
func extension(name string) rule {
	if strings.HasPrefix(name, "X-") || strings.HasPrefix(name, "P-") {
		return rule{ways: trunkIn}
	}
	return rule{}
}

// Copy appends to out what of in may pass, in order. It neither reads nor writes the typed fields, Contact, the body,
// Content-Type or Content-Length. What it appends names no host of the sender's, but for what extensions, Call-Info,
// Alert-Info and free text hold: those are the guard's.
func Copy(dir Direction, in, out *message.Message, h Hosts) {
	var hosts *Hosts
	for i := range in.Headers {
		f := &in.Headers[i]
		r, listed := table[f.Name]
		if !listed {
			r = extension(f.Name)
		}
		if r.ways&(1<<dir) == 0 && (dir != PhoneToPBX || r.ways&trunkIn == 0 || !h.trusts(f.Name)) || r.body && len(in.Body) == 0 {
			continue
		}
		value, pass := f.Value, true
		if r.edit != nil {
			if hosts == nil { // what edits are handed goes to the heap; most messages need none
				hosts = new(h)
			}
			value, pass = r.edit(value, hosts)
		}
		if pass {
			out.Headers = append(out.Headers, message.Header{Name: f.Name, Value: value})
		}
	}
}
