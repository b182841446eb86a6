package scan

import "bytes"

// skipQuoted returns the offset behind the quoted string that begins at i, or end if it never closes.
func (v *View) skipQuoted(i, end uint32) uint32 {
	for i++; i < end; i++ {
		switch v.data[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return end
}

// until returns the offset of the first byte stop outside quoted strings, or end.
func (v *View) until(i, end uint32, stop byte) uint32 {
	if i >= end {
		return end
	}
	s := v.data[i:end]
	if n := bytes.IndexByte(s, stop); n >= 0 {
		s = s[:n]
	}
	if bytes.IndexByte(s, '"') < 0 { // nearly always
		return i + uint32(len(s))
	}
	for i < end {
		switch v.data[i] {
		case stop:
			return i
		case '"':
			i = v.skipQuoted(i, end)
		default:
			i++
		}
	}
	return end
}

// param finds a parameter by its lower-case name in a list whose elements are separated by sep. The list may begin
// with sep. Only the first occurrence counts.
func (v *View) param(list Span, sep byte, name string) Span {
	for i := list.Start; i < list.End; i++ {
		end := v.until(i, list.End, sep)
		eq := v.until(i, end, '=')
		key := trim(v.data, int(i), int(eq))
		if eq < end && foldEqual(v.data[key.Start:key.End], name) {
			return trim(v.data, int(eq)+1, int(end))
		}
		i = end
	}
	return Span{}
}

// tag finds the tag parameter of a From or To value: behind the angle brackets if there are any, else behind the first
// semicolon (RFC 3261 §20.20: parameters of a URI without brackets are those of the header field).
func (v *View) tag(value Span) Span {
	at := v.until(value.Start, value.End, '<')
	if at < value.End {
		if n := bytes.IndexByte(v.data[at:value.End], '>'); n >= 0 {
			at += uint32(n)
		} else {
			at = value.End
		}
	} else {
		at = value.Start
	}
	at = v.until(at, value.End, ';')
	return v.param(Span{at, value.End}, ';', "tag")
}

// firstHop finds sent-by and branch of the first hop of a Via value (RFC 3261 §20.42):
// SIP / 2.0 / UDP host : port ; parameters, with white space nearly anywhere.
func (v *View) firstHop(value Span) {
	end := v.until(value.Start, value.End, ',')
	params := v.until(value.Start, end, ';')
	at := value.Start
	for range 2 { // the slashes of the sent-protocol
		for at < params && v.data[at] != '/' {
			at++
		}
		at++
	}
	for at < params && isSpace(v.data[at]) {
		at++
	}
	for at < params && !isSpace(v.data[at]) {
		at++ // the transport
	}
	if at < params {
		v.SentBy = trim(v.data, int(at), int(params))
	}
	v.Branch = v.param(Span{params, end}, ';', "branch")
}
