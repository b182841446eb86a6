package registrar

import (
	"time"

	"sallyport/sbc/header"
	"sallyport/sbc/message"
)

// disguised is the PBX's refusal as a stranger may see it whom it would tell which users there are: without credentials a
// challenge like any other, with them 403: nobody shall learn which users there are. It reports false for one that passes as it is.
func (r *Register) disguised(now time.Time, far *message.Message) (*message.Message, bool) {
	if r.peer == nil || !r.peer.Stranger || !header.Tells(far.Status) {
		return nil, false
	}
	return r.set.Decoys.Disguise(now, r.msg, far, r.ids.Block), true
}
