package cdr

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// maxField is the longest text of a record in bytes. Peers choose most of them.
const maxField = 256

// appendJSON appends a record as one JSON line.
func appendJSON(to []byte, r *Record) ([]byte, error) {
	b := bytes.NewBuffer(to)
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false) // "<sip:…>" stays legible; no browser reads the file raw
	err := e.Encode(Clean(*r))
	return b.Bytes(), err
}

// Clean returns the record as it is written: foreign texts cut and made harmless, and numbers that JSON can say.
func Clean(r tu.CDR) tu.CDR {
	for _, s := range [...]*string{
		&r.Call, &r.Correlation, &r.Direction, &r.Trunk, &r.Node, &r.AoR, &r.From, &r.To, &r.Source, &r.Destination,
		&r.CallIDs[0], &r.CallIDs[1], &r.EndedBy, &r.Transports[0], &r.Transports[1], &r.UserAgents[0], &r.UserAgents[1],
		&r.FromSent, &r.ToSent, &r.Cause,
	} {
		*s = text(*s)
	}
	r.Version = Version
	r.Reason = reason.Reason(text(string(r.Reason)))
	r.Duration, r.PostDial = number(r.Duration), number(r.PostDial)
	r.Tries = slices.Clone(r.Tries)
	for i := range r.Tries {
		t := &r.Tries[i]
		t.Peer, t.Address, t.Transport, t.Took = text(t.Peer), text(t.Address), text(t.Transport), number(t.Took)
		t.Reason = reason.Reason(text(string(t.Reason)))
	}
	r.Transfers = slices.Clone(r.Transfers) // the caller's stay as they are
	for i := range r.Transfers {
		r.Transfers[i].Leg, r.Transfers[i].To = text(r.Transfers[i].Leg), text(r.Transfers[i].To)
	}
	r.Media = slices.Clone(r.Media)
	for i := range r.Media {
		m := &r.Media[i]
		m.Codec, m.Packet = text(m.Codec), number(m.Packet)
		for _, l := range [...]*tu.LegStats{&m.Outside, &m.Inside} {
			l.Remote = text(l.Remote)
			for _, f := range [...]*float64{&l.Jitter, &l.MOSIn, &l.FarJitter, &l.FarMOS, &l.RoundTrip, &l.MOSOut} {
				*f = number(*f)
			}
		}
	}
	return r
}

// text cuts at a rune's boundary and replaces control characters and those that turn the direction of writing: JSON
// quotes only the lowest of them, and records are read with cat.
func text(s string) string {
	if len(s) <= maxField && plain(s) {
		return s
	}
	s = strings.Map(func(r rune) rune {
		switch {
		case r < 0x20, r >= 0x7f && r < 0xa0, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
			return utf8.RuneError
		}
		return r
	}, s)
	if len(s) <= maxField {
		return s
	}
	end := maxField
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}

// plain reports whether a text is printable ASCII, as nearly all are.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// number is 0 for what JSON cannot express: a record with a wrong figure is worth more than none.
func number(f float64) float64 {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	return f
}
