package policy

// Method is a SIP request method as the rules number it. Every method passes the same gate: one that is not in the
// IANA list of SIP methods is MethodOther, which a rule reaches by `*`.
type Method uint8

// The methods (RFC 3261 §7.1, RFC 3262, 3311, 3428, 3515, 3903, 6086, 6665).
const (
	MethodOther Method = iota
	MethodInvite
	MethodAck
	MethodBye
	MethodCancel
	MethodOptions
	MethodRegister
	MethodPrack
	MethodSubscribe
	MethodNotify
	MethodPublish
	MethodInfo
	MethodRefer
	MethodMessage
	MethodUpdate
	methodCount
)

var methodNames = [methodCount]string{
	"other", "INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "REGISTER", "PRACK", "SUBSCRIBE", "NOTIFY", "PUBLISH",
	"INFO", "REFER", "MESSAGE", "UPDATE",
}

// String is the method's name on the wire, or "other".
func (m Method) String() string { return methodNames[m] }

// MethodOf numbers a method by its name. Methods are case-sensitive (RFC 3261 §7.1): "invite" is another method.
func MethodOf(name []byte) Method {
	switch string(name) {
	case "INVITE":
		return MethodInvite
	case "ACK":
		return MethodAck
	case "BYE":
		return MethodBye
	case "CANCEL":
		return MethodCancel
	case "OPTIONS":
		return MethodOptions
	case "REGISTER":
		return MethodRegister
	case "PRACK":
		return MethodPrack
	case "SUBSCRIBE":
		return MethodSubscribe
	case "NOTIFY":
		return MethodNotify
	case "PUBLISH":
		return MethodPublish
	case "INFO":
		return MethodInfo
	case "REFER":
		return MethodRefer
	case "MESSAGE":
		return MethodMessage
	case "UPDATE":
		return MethodUpdate
	}
	return MethodOther
}
