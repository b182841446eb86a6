package transport

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/reason"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// guardFunc is a guard as a function.
type guardFunc func(p *policy.Packet) policy.Verdict

func (f guardFunc) Check(p *policy.Packet) policy.Verdict { return f(p) }

func verdict(a policy.Action, code int, why reason.Reason) policy.Verdict {
	return policy.Verdict{Action: a, Code: code, Reason: why, Rule: -1, Shadow: -1, Limit: -1}
}

// known treats everybody like a known peer: malformed messages are answered.
func known(p *policy.Packet) policy.Verdict {
	if p.ScanErr != nil {
		return verdict(policy.Reject, 400, reason.Malformed)
	}
	return verdict(policy.Allow, 0, reason.Allow)
}

// stranger lets good messages pass, to reach the parser, and keeps silent about bad ones.
func stranger(p *policy.Packet) policy.Verdict {
	if p.ScanErr != nil {
		return verdict(policy.Drop, 0, reason.Malformed)
	}
	return verdict(policy.Allow, 0, reason.Allow)
}

// inbox is a handler that keeps what it gets.
type inbox struct {
	outcome func(Packet) Outcome // nil: Accepted

	mu      sync.Mutex
	packets []Packet
	refused []nat.Flow
	ended   []nat.Flow
	own     int           // of the ended ones, dialled
	news    chan struct{} // one token for each change, where somebody waits for it
}

func (h *inbox) Deliver(p Packet) Outcome {
	if h.outcome != nil {
		if o := h.outcome(p); o != Accepted {
			return o
		}
	}
	h.mu.Lock()
	h.packets = append(h.packets, p)
	h.mu.Unlock()
	h.tell()
	return Accepted
}

func (h *inbox) Unreachable(f nat.Flow) {
	h.mu.Lock()
	h.refused = append(h.refused, f)
	h.mu.Unlock()
	h.tell()
}

func (h *inbox) Closed(f nat.Flow, dialled bool) {
	h.mu.Lock()
	h.ended = append(h.ended, f)
	if dialled {
		h.own++
	}
	h.mu.Unlock()
	h.tell()
}

func (h *inbox) tell() {
	select {
	case h.news <- struct{}{}:
	default:
	}
}

func (h *inbox) all() []Packet {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Packet(nil), h.packets...)
}

func (h *inbox) unreachable() []nat.Flow {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]nat.Flow(nil), h.refused...)
}

func (h *inbox) closed() []nat.Flow {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]nat.Flow(nil), h.ended...)
}

func face(id uint16, side nat.Side, realm nat.Realm, bind string) nat.Interface {
	b := netip.MustParseAddrPort(bind)
	return nat.Interface{ID: id, Side: side, Realm: realm, Transport: nat.UDP, Bind: b, Advertised: b}
}

// request writes a request; lines replace the field of the same name or are added.
func request(method, callID string, lines ...string) string {
	fields := []string{
		"Via: SIP/2.0/UDP 192.0.2.77;branch=z9hG4bK" + callID,
		"From: <sip:a@example.com>;tag=f" + callID,
		"To: <sip:b@example.com>",
		"Call-ID: " + callID,
		"CSeq: 1 " + method,
		"Max-Forwards: 70",
		"Content-Length: 0",
	}
	for _, l := range lines {
		name, _, _ := strings.Cut(l, ":")
		replaced := false
		for i := range fields {
			if strings.HasPrefix(fields[i], name+":") {
				fields[i], replaced = l, true
			}
		}
		if !replaced {
			fields = append(fields, l)
		}
	}
	return fmt.Sprintf("%s sip:b@example.com SIP/2.0\r\n%s\r\n\r\n", method, strings.Join(fields, "\r\n"))
}

func response(callID string) string {
	return "SIP/2.0 200 OK\r\n" + strings.SplitN(request("INVITE", callID), "\r\n", 2)[1]
}
