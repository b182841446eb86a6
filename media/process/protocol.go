//go:build linux

package process

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"sallyport/media"
)

// protocol is the version of what goes over the socket. It changes with any change of a message or of a command's record.
const protocol = 7

// kind is a datagram's first byte. The second is zero, the next two are how many records follow.
type kind byte

const (
	kindHello     kind = iota + 1 // client: who I am, what ports I want
	kindWelcome                   // server: they are open; the table comes with it (SCM_RIGHTS)
	kindRefusal                   // server: no, and why; the connection ends
	kindCommands                  // client: wanted states of legs
	kindHints                     // server: something happened to legs
	kindSync                      // client: say when everything so far has been carried out
	kindSynced                    // server: it has
	kindAgreement                 // server: the keys that a leg's handshake has come to
	kindTapped                    // server: copies of datagrams of tapped legs, and how many more were lost
	kindBye                       // client: my legs are over, I do not come back
)

const (
	headLen   = 4
	buildLen  = 48
	nameLen   = 320
	textLen   = 480
	certLen   = 4 + 1024 // our certificate with its key, and how long they are
	perPacket = 64       // commands or hints of one datagram

	helloLen   = headLen + 4 + 4 + buildLen + media.LayoutSize + certLen
	welcomeLen = headLen + 4 + 4 + 4 + 8 + buildLen + nameLen + certLen
	refusalLen = headLen + 4 + 4 + 4 + buildLen + textLen
	hintLen    = 12
	syncLen    = headLen + 8
	keyLen     = len(media.Crypto{}.Send)
	printLen   = len(media.Fingerprint{}.Value)
	agreeLen   = headLen + 4 + 4 + 18 + 2 + printLen + 1 + 2*keyLen

	maxDatagram = headLen + perPacket*media.CommandSize
)

const magic = 0x506d4279 // tells a greeting from whatever else may come

// errDatagram says that the other side does not speak this protocol.
var errDatagram = errors.New("media/process: a datagram that no process of this build sends")

func head(b []byte, k kind, count int) []byte {
	b = append(b, byte(k), 0)
	return binary.LittleEndian.AppendUint16(b, uint16(count))
}

// open reads a datagram's head; rest are its records.
func open(b []byte) (k kind, count int, rest []byte, err error) {
	if len(b) < headLen || b[1] != 0 {
		return 0, 0, nil, errDatagram
	}
	return kind(b[0]), int(binary.LittleEndian.Uint16(b[2:])), b[headLen:], nil
}

// hello is the client's greeting. Its beginning, versions and build, has the same form in every version.
type hello struct {
	protocol, board uint16
	build           string
	layout          media.Layout
	certificate     media.Certificate // that of the media process before; empty: there was none
}

func (h *hello) datagram() []byte {
	b := head(nil, kindHello, 1)
	b = binary.LittleEndian.AppendUint32(b, magic)
	b = binary.LittleEndian.AppendUint16(b, h.protocol)
	b = binary.LittleEndian.AppendUint16(b, h.board)
	b = appendText(b, h.build, buildLen)
	return appendCertificate(h.layout.AppendTo(b), h.certificate)
}

// decodeHello reads a greeting. Of one of another version it reads what can be compared, and says so by its versions
// alone.
func decodeHello(b []byte) (h hello, err error) {
	k, count, rest, err := open(b)
	if err != nil || k != kindHello || count != 1 || len(rest) < 8+buildLen || binary.LittleEndian.Uint32(rest) != magic {
		return h, errDatagram
	}
	h.protocol, h.board = binary.LittleEndian.Uint16(rest[4:]), binary.LittleEndian.Uint16(rest[6:])
	h.build = textOf(rest[8:][:buildLen])
	if !h.current() {
		return h, nil
	}
	if len(b) != helloLen {
		return h, errDatagram
	}
	rest = rest[8+buildLen:]
	if h.certificate, err = decodeCertificate(rest[media.LayoutSize:]); err != nil {
		return h, err
	}
	h.layout, err = media.DecodeLayout(rest[:media.LayoutSize])
	return h, err
}

func (h *hello) current() bool { return h.protocol == protocol && h.board == media.BoardVersion }

// welcome is the server's answer; the table's descriptor comes with it.
type welcome struct {
	pid     int
	workers int
	follows bool   // it was started by signalling
	size    uint64 // of the table
	build   string
	backend string
	// The certificate that its handshakes show. Signalling keeps it for the process that comes after this one.
	certificate media.Certificate
}

func (w *welcome) datagram() []byte {
	b := head(nil, kindWelcome, 1)
	b = binary.LittleEndian.AppendUint32(b, uint32(w.pid))
	b = binary.LittleEndian.AppendUint32(b, uint32(w.workers))
	var follows uint32
	if w.follows {
		follows = 1
	}
	b = binary.LittleEndian.AppendUint32(b, follows)
	b = binary.LittleEndian.AppendUint64(b, w.size)
	return appendCertificate(appendText(appendText(b, w.build, buildLen), w.backend, nameLen), w.certificate)
}

func decodeWelcome(b []byte) (w welcome, err error) {
	k, count, rest, err := open(b)
	if err != nil || k != kindWelcome || count != 1 || len(b) != welcomeLen {
		return w, errDatagram
	}
	w.pid, w.workers = int(binary.LittleEndian.Uint32(rest)), int(binary.LittleEndian.Uint32(rest[4:]))
	w.follows = binary.LittleEndian.Uint32(rest[8:]) == 1
	w.size, w.build = binary.LittleEndian.Uint64(rest[12:]), textOf(rest[20:][:buildLen])
	w.backend = textOf(rest[20+buildLen:][:nameLen])
	w.certificate, err = decodeCertificate(rest[20+buildLen+nameLen:])
	return w, err
}

// cause is why a greeting was refused.
type cause uint32

const (
	causeVersion cause = iota + 1 // another protocol or table
	causeLayout                   // calls run on other ports
	causeBusy                     // another signalling process is connected
	causePorts                    // the ports could not be opened
)

// RefusedError says that a media process answered and would not serve.
type RefusedError struct {
	PID   int
	Build string // of the media process
	Text  string
	cause cause
	errno syscall.Errno // why ports could not be opened, if it was the kernel
}

// Error says what differs and what to do.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("the media process %d (build %s) refused: %s", e.PID, e.Build, e.Text)
}

// Unwrap is the kernel's error, if it was one.
func (e *RefusedError) Unwrap() error {
	if e.errno == 0 {
		return nil
	}
	return e.errno
}

func (e *RefusedError) datagram() []byte {
	b := head(nil, kindRefusal, 1)
	for _, v := range [...]uint32{uint32(e.PID), uint32(e.cause), uint32(e.errno)} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return appendText(appendText(b, e.Build, buildLen), e.Text, textLen)
}

func decodeRefusal(b []byte) (*RefusedError, error) {
	k, count, rest, err := open(b)
	if err != nil || k != kindRefusal || count != 1 || len(b) != refusalLen {
		return nil, errDatagram
	}
	number := func(n int) uint32 { return binary.LittleEndian.Uint32(rest[4*n:]) }
	return &RefusedError{
		PID: int(number(0)), cause: cause(number(1)), errno: syscall.Errno(number(2)),
		Build: textOf(rest[12:][:buildLen]), Text: textOf(rest[12+buildLen:]),
	}, nil
}

func appendCommands(b []byte, list []media.Command) []byte {
	b = head(b, kindCommands, len(list))
	for i := range list {
		b = list[i].AppendTo(b)
	}
	return b
}

// decodeCommands appends the commands of a datagram's records to list. One that is wrong spoils the datagram.
func decodeCommands(list []media.Command, count int, rest []byte, layout media.Layout) ([]media.Command, error) {
	if count == 0 || count > perPacket || len(rest) != count*media.CommandSize {
		return list, errDatagram
	}
	for ; len(rest) > 0; rest = rest[media.CommandSize:] {
		c, err := media.DecodeCommand(rest[:media.CommandSize], layout)
		if err != nil {
			return list, err
		}
		list = append(list, c)
	}
	return list, nil
}

// hint is word of one leg. Whoever hears it looks at the table.
type hint struct {
	kind       media.HintKind
	leg        uint32
	generation uint32
}

func hintDatagram(list []hint) []byte {
	b := head(nil, kindHints, len(list))
	for _, h := range list {
		b = binary.LittleEndian.AppendUint32(b, uint32(h.kind))
		b = binary.LittleEndian.AppendUint32(b, h.leg)
		b = binary.LittleEndian.AppendUint32(b, h.generation)
	}
	return b
}

func decodeHints(list []hint, count int, rest []byte) ([]hint, error) {
	if count == 0 || count > perPacket || len(rest) != count*hintLen {
		return list, errDatagram
	}
	for ; len(rest) > 0; rest = rest[hintLen:] {
		k := binary.LittleEndian.Uint32(rest)
		if k > uint32(media.Heard) {
			return list, errDatagram
		}
		list = append(list, hint{media.HintKind(k), binary.LittleEndian.Uint32(rest[4:]), binary.LittleEndian.Uint32(rest[8:])})
	}
	return list, nil
}

func appendSync(b []byte, k kind, token uint64) []byte {
	return binary.LittleEndian.AppendUint64(head(b, k, 1), token)
}

func decodeSync(count int, rest []byte) (token uint64, err error) {
	if count != 1 || len(rest) != syncLen-headLen {
		return 0, errDatagram
	}
	return binary.LittleEndian.Uint64(rest), nil
}

// appendText writes a text of fixed length, cut or filled up with zeros.
func appendText(b []byte, text string, length int) []byte {
	text = text[:min(len(text), length)]
	return append(append(b, text...), make([]byte, length-len(text))...)
}

// textOf reads one; what cannot be printed is replaced, for it goes into logs.
func textOf(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(bytes.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, bytes.ToValidUTF8(b, []byte{'?'})))
}
