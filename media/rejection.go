package media

// Rejection is why a datagram was not relayed.
type Rejection uint8

// The rejections, a closed list: they index LegStats.Rejected and Gauges.Rejected.
const (
	Accepted          Rejection = iota // not rejected
	RejectedStray                      // on a free port
	RejectedSource                     // from outside the candidates, or another port of one once the leg is locked
	RejectedOwn                        // from a port of our own pool that the SDP did not name
	RejectedLearn                      // from a candidate that is not proven yet
	RejectedJunk                       // no RTP, RTCP or whole header
	RejectedSTUN                       // STUN: no ICE was negotiated
	RejectedDTLS                       // DTLS: no DTLS-SRTP was negotiated
	RejectedPort                       // RTCP on an RTP port without rtcp-mux, or on the RTCP port with it
	RejectedDirection                  // the leg may not be heard, or the other may not hear (hold)
	RejectedNowhere                    // the other leg has no destination yet
	RejectedUnsent                     // the kernel refused to send it
	RejectedInternal                   // the engine failed on it: a bug, to be reported
	RejectedPolice                     // more, or longer, than the negotiated codec sends
	RejectedAuth                       // SRTP: wrong key, changed on the way, or a repeat
	RejectedDiscarded                  // a payload type that the other leg does not take, or gets in another form; RTCP of which nothing may pass

	rejections
)

// NumRejections is the length of the closed list.
const NumRejections = int(rejections)

var rejectionNames = [...]string{"accepted", "stray", "source", "own-port", "unproven", "junk", "stun", "dtls",
	"wrong-port", "direction", "no-destination", "unsent", "internal", "policed", "srtp", "discarded"}

// String is the rejection's name in metrics and CDRs.
func (r Rejection) String() string { return rejectionNames[r%rejections] }
