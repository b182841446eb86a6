package trace

import (
	"fmt"
	"io"
)

// application names the writer of a dump in the file's head.
const application = "Sallyport flight recorder"

// Dump writes what the recorder holds as a pcapng file, oldest message first. An interface of the file is a listener of
// the program, named as nat.Interface names itself; a packet's comment is the reason of the verdict. Messages may be
// noted meanwhile; those that come after the call began may be missing.
func (r *Recorder) Dump(w io.Writer) error {
	if r == nil {
		return fmt.Errorf("the flight recorder is off\n  hint: set policy.recorder to a size such as 16MiB, and restart")
	}
	left := r.leftOut.Load()
	comment := "SIP messages with made-up IP and UDP headers; secrets are overwritten"
	if left > 0 {
		comment += fmt.Sprintf("; %d messages of strangers were left out", left)
	}
	file := NewFile(w, application, comment)
	known, strangers := r.known.cursor(), r.strangers.cursor()
	for a, b := known.advance(), strangers.advance(); a || b; {
		first := known
		if !a || b && strangers.current.at.Before(known.current.at) {
			first = strangers
		}
		if err := first.current.writeTo(file); err != nil {
			return err
		}
		if first == known {
			a = known.advance()
		} else {
			b = strangers.advance()
		}
	}
	return file.End(left)
}

func (r *record) writeTo(file *File) error {
	mask(r.data)
	p := Packet{
		At: r.at, Face: r.face.String(), From: r.remote, To: r.face.Bind, Sent: r.sent, Comment: r.said(), Length: r.length, Data: r.data,
	}
	if r.sent {
		p.From, p.To = p.To, p.From
	}
	return file.Write(&p)
}

// said is a verdict in words.
func (r *record) said() string {
	if r.refused {
		return "refused: " + r.reason
	}
	return r.reason
}
