package media

import (
	"encoding/binary"

	"sallyport/media/ice"
)

// extras is what a leg may ask of its packets beyond being relayed: the part of a Want that most legs leave empty. It holds
// no pointers.
type extras struct {
	numbers Numbering
	events  Events
	tones   Tones
	police  Police
	crypto  Crypto
	resume  resume
	keyed   keyed
	ice     ice.Credentials
	peer    Identity
	cnames  CNAMEKey
	tap     Tap
	resumed bool // the stream is older than this engine
}

// Numbering maps the payload types that a peer sends to those that the other leg's peer knows (RFC 3264 §5.1: each side
// may have numbers of its own). 0 leaves a number as it is, n+1 stands for n, Discard for nothing: such packets are not
// relayed. Behind the 128 of them stands n+1 for the payload type n of redundant audio, whose payload names others (RFC 2198
// §3). The zero Numbering changes nothing.
type Numbering [129]uint8

// Discard in a Numbering says that packets of a payload type are not relayed.
const Discard = 255

// Set maps a payload type.
func (n *Numbering) Set(from, to uint8) {
	if from < 128 && to < 128 {
		n[from] = to + 1
		if from == to {
			n[from] = 0
		}
	}
}

// Of is what a payload type becomes; it reports false for one that is not relayed.
func (n *Numbering) Of(pt uint8) (to uint8, ok bool) {
	switch v := n[pt&127]; v {
	case 0:
		return pt & 127, true
	case Discard:
		return 0, false
	default:
		return (v - 1) & 127, true
	}
}

// Events are the telephone events (RFC 4733) of a peer.
type Events struct {
	Payload uint8  // their payload type; 0: none was negotiated
	Clock   uint32 // RTP clock in Hz
	Report  bool   // digits that the peer sends are told in hints
}

// MaxTones bounds Tones.
const MaxTones = 8

// Tones are digits to be sent to a peer as telephone events. Of a list that is repeated only those are played that had
// not been asked for before: Serial counts all digits of the stream so far, the last one of the list included.
type Tones struct {
	Serial uint32
	Count  uint8
	List   [MaxTones]Tone
}

// Tone is one telephone event.
type Tone struct {
	Event    uint8  // RFC 4733 §3.2: 0-9, 10 for *, 11 for #, 12-15 for A-D
	Volume   uint8  // dBm0 without the sign, 0-63
	Duration uint16 // milliseconds
}

// Police bounds what a peer may send.
type Police struct {
	Rate uint32 // packets a second; 0: any
	Size uint16 // bytes of a datagram; 0: any
}

// Suite is an SRTP crypto suite (RFC 4568 §6.2, RFC 6188, RFC 7714).
type Suite uint8

// The suites.
const (
	NoCrypto Suite = iota
	AES128CM80
	AES128CM32
	AES256CM80
	AES256CM32
	AEADAES128GCM
	AEADAES256GCM

	suites
)

// maxKey is the length of the longest master key with its salt.
const maxKey = 46

// Crypto is what protects a leg (RFC 3711). Keys are master key and master salt, one behind the other.
type Crypto struct {
	Suite   Suite
	Receive [maxKey]byte // of what the peer sends
	Send    [maxKey]byte // of what is sent to the peer
}

const extrasSize = len(Numbering{}) + 1 + 4 + 1 + 4 + 1 + MaxTones*4 + 4 + 2 + 1 + 2*maxKey + 28 + 9 +
	ice.FragmentLen + ice.PasswordLen + 2 + 64 + len(CNAMEKey{}) + 2

func (x *extras) appendTo(b []byte) []byte {
	b = append(b, x.numbers[:]...)
	report := byte(0)
	if x.events.Report {
		report = 1
	}
	b = append(b, x.events.Payload, report)
	b = binary.LittleEndian.AppendUint32(b, x.events.Clock)
	b = binary.LittleEndian.AppendUint32(b, x.tones.Serial)
	b = append(b, x.tones.Count)
	for _, t := range x.tones.List {
		b = append(b, t.Event, t.Volume)
		b = binary.LittleEndian.AppendUint16(b, t.Duration)
	}
	b = binary.LittleEndian.AppendUint32(b, x.police.Rate)
	b = binary.LittleEndian.AppendUint16(b, x.police.Size)
	b = append(b, byte(x.crypto.Suite))
	b = append(b, x.crypto.Receive[:]...)
	b = append(b, x.crypto.Send[:]...)
	b = binary.LittleEndian.AppendUint64(b, x.resume.in)
	b = binary.LittleEndian.AppendUint64(b, x.resume.out)
	b = binary.LittleEndian.AppendUint32(b, x.resume.proved)
	b = binary.LittleEndian.AppendUint32(b, x.resume.reported)
	b = binary.LittleEndian.AppendUint32(b, x.resume.marks)
	b = x.keyed.appendTo(b)
	b = append(b, x.ice.Fragment[:]...)
	b = append(b, x.ice.Password[:]...)
	b = append(b, byte(x.peer.Role), byte(x.peer.Print.Hash))
	b = append(b, x.peer.Print.Value[:]...)
	b = append(b, x.cnames[:]...)
	resumed := byte(0)
	if x.resumed {
		resumed = 1
	}
	return append(b, byte(x.tap), resumed)
}

// read takes the extras off a record and reports whether they make sense.
func (x *extras) read(r *record) bool {
	copy(x.numbers[:], r.take(len(x.numbers)))
	x.events.Payload = r.byte()
	report := r.byte()
	x.events.Report, x.events.Clock = report == 1, r.uint32()
	x.tones.Serial, x.tones.Count = r.uint32(), r.byte()
	for i := range x.tones.List {
		x.tones.List[i] = Tone{r.byte(), r.byte(), r.uint16()}
	}
	x.police.Rate, x.police.Size = r.uint32(), r.uint16()
	x.crypto.Suite = Suite(r.byte())
	copy(x.crypto.Receive[:], r.take(maxKey))
	copy(x.crypto.Send[:], r.take(maxKey))
	x.resume = resume{in: r.uint64(), out: r.uint64(), proved: r.uint32(), reported: r.uint32(), marks: r.uint32()}
	if !x.keyed.read(r) {
		return false
	}
	copy(x.ice.Fragment[:], r.take(ice.FragmentLen))
	copy(x.ice.Password[:], r.take(ice.PasswordLen))
	x.peer.Role, x.peer.Print.Hash = Role(r.byte()), Hash(r.byte())
	copy(x.peer.Print.Value[:], r.take(64))
	copy(x.cnames[:], r.take(len(x.cnames)))
	x.tap = Tap(r.byte())
	resumed := r.byte()
	x.resumed = resumed == 1
	if x.peer.Role >= roles || x.peer.Print.Hash >= hashes || (x.peer.Role == NoDTLS) != (x.peer.Print.Hash == NoHash) {
		return false
	}
	for _, v := range x.numbers {
		if v > 128 && v != Discard {
			return false
		}
	}
	return report <= 1 && resumed <= 1 && x.tap <= tapForms && x.events.Payload < 128 && x.tones.Count <= MaxTones && x.crypto.Suite < suites
}
