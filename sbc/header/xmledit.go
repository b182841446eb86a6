package header

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"sallyport/sbc/userpart"
	"slices"
	"strings"
)

const (
	documentMax = 64 << 10 // bytes of a document that is read
	depthMax    = 32       // of elements in elements
	attrsMax    = 64       // of an element that is looked at: each is compared with those before it
)

var (
	errDocumentSize  = errors.New("the document is larger than 64 KiB")
	errDocumentDepth = errors.New("the document has more than 32 elements within each other")
	errDocumentType  = errors.New("the document declares a type or entities")
	errDocumentTags  = errors.New("the document has not one root element, or a tag without its other half")
	errDocumentAttrs = errors.New("the document has an attribute twice, or more than 64 in one element")
)

// splice is a stretch of a text that is to be another.
type splice struct {
	from, to int
	with     string
}

// spliced is the text with its splices, which are in order and apart; the text itself where there are none.
func spliced[T text](v T, list []splice) T {
	if len(list) == 0 {
		return v
	}
	out := make([]byte, 0, len(v)+64)
	at := 0
	for _, s := range list {
		out = append(append(out, v[at:s.from]...), s.with...)
		at = s.to
	}
	return T(append(out, v[at:]...))
}

// xmlEdit changes an XML document in single places: all else stays byte for byte, down to the blanks within a tag.
type xmlEdit struct {
	src   []byte
	edits []splice
	path  []xmlElement // open elements, the innermost last
	err   error
}

// xmlElement is an element that is open.
type xmlElement struct {
	name   string // without prefix
	prefix string
	tag    int // where its start tag begins
	inner  int // where that ends, and its content begins
	end    int // where its end tag begins; 0: it has not been read
}

// editXML goes through a document. start hears of each element when its start tag has been read, end when its content has
// been; both may ask for edits. The document must be well-formed, of bounded size and depth, and declare no type: entities of
// its own would be a way to have one reader see what another does not.
func editXML(src []byte, start, end func(*xmlEdit)) ([]byte, error) {
	if len(src) > documentMax {
		return nil, errDocumentSize
	}
	e := &xmlEdit{src: src}
	d := xml.NewDecoder(bytes.NewReader(ascii(src)))
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil } // any that has ASCII in it
	roots := 0
	for {
		at := int(d.InputOffset())
		t, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		switch t := t.(type) {
		case xml.Directive:
			return nil, errDocumentType
		case xml.StartElement:
			if len(e.path) == 0 {
				roots++
			}
			if len(e.path) >= depthMax {
				return nil, errDocumentDepth
			}
			e.path = append(e.path, xmlElement{name: t.Name.Local, prefix: t.Name.Space, tag: at, inner: int(d.InputOffset())})
			start(e)
		case xml.EndElement:
			n := len(e.path) - 1
			if n < 0 || e.path[n].name != t.Name.Local || e.path[n].prefix != t.Name.Space {
				return nil, errDocumentTags
			}
			e.path[n].end = at
			end(e)
			e.path = e.path[:n]
		}
	}
	if e.err != nil {
		return nil, e.err
	}
	if roots != 1 || len(e.path) != 0 {
		return nil, errDocumentTags
	}
	return spliced(src, e.edits), nil
}

// ascii is a document as long as the original in which every byte beyond ASCII is a letter: where markup stands does not
// depend on them, and documents come in other encodings than UTF-8.
func ascii(src []byte) []byte {
	if bytes.IndexFunc(src, func(r rune) bool { return r >= 0x80 }) < 0 {
		return src
	}
	out := bytes.Clone(src)
	for i, c := range out {
		if c >= 0x80 {
			out[i] = 'x'
		}
	}
	return out
}

// is reports whether the innermost element has a name and the one around it another; "" is the document itself.
func (e *xmlEdit) is(parent, name string) bool {
	n := len(e.path)
	if e.path[n-1].name != name {
		return false
	}
	if n == 1 {
		return parent == ""
	}
	return e.path[n-2].name == parent
}

// content is what stands between the tags of the innermost element, when it ends.
func (e *xmlEdit) content() (from, to int) {
	l := e.path[len(e.path)-1]
	return l.inner, l.end
}

// setContent puts a text in the place of the content of the innermost element, when it ends, and of all edits therein.
func (e *xmlEdit) setContent(text string) {
	from, to := e.content()
	if from == to {
		return // it may have no end tag
	}
	for n := len(e.edits); n > 0 && e.edits[n-1].from >= from; n-- {
		e.edits = e.edits[:n-1]
	}
	e.edits = append(e.edits, splice{from, to, escapeXML(text)})
}

// text is the content of the innermost element where it is text alone.
func (e *xmlEdit) text() (string, bool) {
	from, to := e.content()
	raw := string(e.src[from:to])
	if strings.IndexByte(raw, '<') >= 0 {
		return "", false // a comment, CDATA, elements: nothing that belongs into a URI
	}
	return unescapeXML(raw), true
}

// attr is an attribute of a start tag: where its value stands, and its value.
type attr struct {
	name     string
	from, to int
	value    string
}

// attrs are the attributes of the innermost element, when it starts. The tag has been read as well-formed.
func (e *xmlEdit) attrs() []attr {
	var list []attr
	l := e.path[len(e.path)-1]
	tag := e.src[l.tag:l.inner]
	at := bytes.IndexAny(tag, " \t\r\n")
	for at >= 0 && at < len(tag) {
		eq := bytes.IndexByte(tag[at:], '=')
		if eq < 0 {
			break
		}
		name := strings.TrimSpace(string(tag[at : at+eq]))
		open := bytes.IndexAny(tag[at+eq:], `"'`)
		if open < 0 {
			break
		}
		open += at + eq
		n := bytes.IndexByte(tag[open+1:], tag[open])
		if n < 0 {
			break
		}
		from, to := open+1, open+1+n
		if len(list) >= attrsMax {
			e.err = errDocumentAttrs
			break
		}
		if slices.ContainsFunc(list, func(a attr) bool { return a.name == name }) {
			e.err = errDocumentAttrs
		}
		list = append(list, attr{name, l.tag + from, l.tag + to, unescapeXML(string(tag[from:to]))})
		at = to + 1
	}
	return list
}

// set gives an attribute another value.
func (e *xmlEdit) set(a *attr, value string) {
	if value != a.value {
		e.edits = append(e.edits, splice{a.from, a.to, escapeXML(value)})
	}
}

var xmlEscapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&apos;")

func escapeXML(s string) string { return xmlEscapes.Replace(s) }

// unescapeXML reads the five entities that there are without a declaration, and characters by number up to ASCII's end; what
// is anything else stays as it is written.
func unescapeXML(s string) string {
	if strings.IndexByte(s, '&') < 0 {
		return s
	}
	var out strings.Builder
	for s != "" {
		i := strings.IndexByte(s, '&')
		if i < 0 {
			break
		}
		out.WriteString(s[:i])
		s = s[i:]
		end := strings.IndexByte(s, ';')
		if end < 0 {
			break
		}
		if c, ok := entity(s[1:end]); ok {
			out.WriteByte(c)
		} else {
			out.WriteString(s[:end+1])
		}
		s = s[end+1:]
	}
	return out.String() + s
}

func entity(name string) (byte, bool) {
	switch name {
	case "amp":
		return '&', true
	case "lt":
		return '<', true
	case "gt":
		return '>', true
	case "quot":
		return '"', true
	case "apos":
		return '\'', true
	}
	return charByNumber(name)
}

// charByNumber reads "#64" and "#x40".
func charByNumber(name string) (byte, bool) {
	digits, base := strings.TrimPrefix(name, "#"), 10
	if len(digits) == len(name) || digits == "" {
		return 0, false
	}
	if digits[0] == 'x' {
		digits, base = digits[1:], 16
	}
	n := 0
	for i := range len(digits) {
		c := digits[i]
		if !hexByte(c) || base == 10 && c > '9' || n > 0x7f {
			return 0, false
		}
		n = n*base + userpart.Hex(c)
	}
	return byte(n), digits != "" && n > 0 && n <= 0x7f
}
