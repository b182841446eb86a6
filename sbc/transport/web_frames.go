package transport

import (
	"encoding/binary"
	"errors"

	"github.com/gobwas/ws"

	"sallyport/sbc/scan"
)

// The bounds of what a client sends, besides those of all streams.
const (
	fragmentsMost = 64                     // frames of a message: browsers send one, proxies cut at some kilobytes
	frameHead     = 14                     // bytes of the longest frame header of a client (RFC 6455 §5.2)
	keepMessage   = 4 << 10                // the largest buffer of a message that is kept for the next one
	messageMost   = int64(scan.MaxMessage) // bytes of a message
)

var (
	errFragments = errors.New("WebSocket message in too many fragments")
	errLength64  = errors.New("WebSocket frame with a length that is not written in its shortest form, or above 2^63")
)

// frames cuts what a client sends into WebSocket messages and control frames (RFC 6455 §5), and takes the mask off. What is
// wrong with a frame shows in its header, so that nothing is kept of one that is too large. After an error nothing more
// can be read: where the next frame begins is unknown.
//
// The zero value is ready. It belongs to one reader.
type frames struct {
	head  [frameHead]byte
	have  int // bytes of head
	frame ws.Header
	body  bool  // frame is known, its payload is being read
	taken int64 // bytes of that payload

	message   []byte    // payload of the data frames so far, unmasked
	op        ws.OpCode // of the message; OpContinuation: none is under way
	fragments int
	over      bool // message was handed out: the next one begins anew

	control [ws.MaxControlFramePayloadSize]byte
}

// clean reports whether nothing is under way: the next byte begins a frame, and that a message.
func (f *frames) clean() bool { return f.have == 0 && !f.body && f.op == ws.OpContinuation }

// reset forgets what is under way, and a large buffer.
func (f *frames) reset() {
	message := f.message[:0]
	if cap(message) > keepMessage {
		message = nil
	}
	*f = frames{message: message}
}

// next takes bytes of p up to the end of the next message or control frame, and returns the rest. op is OpContinuation
// when there is none yet, and p is used up then. The payload is valid until the next call.
func (f *frames) next(p []byte) (rest []byte, op ws.OpCode, payload []byte, err error) {
	if f.over {
		f.message, f.over = f.message[:0], false
	}
	for {
		if !f.body {
			if p, err = f.header(p); err != nil || !f.body {
				return p, ws.OpContinuation, nil, err
			}
		}
		n := min(int64(len(p)), f.frame.Length-f.taken)
		f.take(p[:n])
		p = p[n:]
		if f.taken < f.frame.Length {
			return p, ws.OpContinuation, nil, nil
		}
		f.body = false
		switch {
		case f.frame.OpCode.IsControl():
			return p, f.frame.OpCode, f.control[:f.frame.Length], nil
		case f.frame.Fin:
			op, f.op, f.fragments, f.over = f.op, ws.OpContinuation, 0, true
			return p, op, f.message, nil
		}
	}
}

// header reads on in a frame's header. f.body says that it is whole.
func (f *frames) header(p []byte) ([]byte, error) {
	for {
		need := 2
		if f.have >= 2 {
			need = headLen(f.head[1])
		}
		n := copy(f.head[f.have:need], p)
		f.have += n
		p = p[n:]
		switch {
		case f.have < need:
			return p, nil
		case need == 2:
			// Before any further byte is waited for, and 0 is the length of none so far: what is wrong is wrong already.
			h := ws.Header{
				Fin: f.head[0]&0x80 != 0, Rsv: f.head[0] >> 4 & 7, OpCode: ws.OpCode(f.head[0] & 0x0f),
				Masked: f.head[1]&0x80 != 0, Length: int64(f.head[1] & 0x7f),
			}
			if err := ws.CheckHeader(h, f.state()); err != nil {
				return p, err
			}
			f.frame = h
		default:
			return p, f.begin()
		}
	}
}

// headLen is the length of a client's frame header by its second byte: an extended length and the mask follow.
func headLen(second byte) int {
	switch second & 0x7f {
	case 126:
		return 2 + 2 + 4
	case 127:
		return 2 + 8 + 4
	}
	return 2 + 4
}

// state is what the rules of RFC 6455 §5.4 depend on.
func (f *frames) state() ws.State {
	if f.op != ws.OpContinuation {
		return ws.StateServerSide.Set(ws.StateFragmented)
	}
	return ws.StateServerSide
}

// begin starts the payload of the frame whose header is whole.
func (f *frames) begin() error {
	h := &f.frame
	copy(h.Mask[:], f.head[f.have-4:f.have])
	switch h.Length {
	case 126:
		if h.Length = int64(binary.BigEndian.Uint16(f.head[2:])); h.Length < 126 {
			return errLength64 // "the minimal number of bytes MUST be used" (RFC 6455 §5.2)
		}
	case 127:
		n := binary.BigEndian.Uint64(f.head[2:])
		if n <= 0xffff || n>>63 != 0 {
			return errLength64
		}
		h.Length = int64(n)
	}
	f.have, f.taken, f.body = 0, 0, true
	if h.OpCode.IsControl() {
		return nil
	}
	if h.OpCode != ws.OpContinuation {
		f.op = h.OpCode
	}
	switch f.fragments++; {
	case h.Length > messageMost-int64(len(f.message)):
		return scan.ErrTooLarge
	case f.fragments > fragmentsMost:
		return errFragments
	}
	return nil
}

// take takes bytes of the payload.
func (f *frames) take(p []byte) {
	at := int(f.taken)
	f.taken += int64(len(p))
	if f.frame.OpCode.IsControl() {
		ws.Cipher(f.control[at:at+copy(f.control[at:], p)], f.frame.Mask, at)
		return
	}
	from := len(f.message)
	f.message = append(f.message, p...)
	ws.Cipher(f.message[from:], f.frame.Mask, at)
}

// appendFrame writes a frame of a server: whole, and not masked (RFC 6455 §5.1).
func appendFrame(dst []byte, op ws.OpCode, payload []byte) []byte {
	return append(appendHead(dst, op, len(payload)), payload...)
}

func appendHead(dst []byte, op ws.OpCode, length int) []byte {
	dst = append(dst, 0x80|byte(op))
	switch {
	case length < 126:
		return append(dst, byte(length))
	case length <= 0xffff:
		return binary.BigEndian.AppendUint16(append(dst, 126), uint16(length))
	}
	return binary.BigEndian.AppendUint64(append(dst, 127), uint64(length))
}
