package message

import (
	"errors"
	"strconv"

	"sallyport/sbc/scan"
)

// Error says why a message was refused, and with which response a known peer may be told so. A stranger is told
// nothing, and neither is the sender of a response or an ACK.
type Error struct {
	Code   int    // SIP status code
	Phrase string // reason phrase of the answer; empty: the standard one
	Detail string // for logs and `sbc why`: what is wrong and what the sender should do
}

// Error is the text for logs.
func (e *Error) Error() string {
	return strconv.Itoa(e.Code) + " " + e.Text() + ": " + e.Detail
}

// Text is the reason phrase to send.
func (e *Error) Text() string {
	if e.Phrase != "" {
		return e.Phrase
	}
	return Phrase(e.Code)
}

func bad(detail string) *Error { return &Error{Code: 400, Detail: detail} }

// Refusal turns any error of scan.Scan or Parse into the answer it deserves.
func Refusal(err error) *Error {
	var e *Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		return e
	case errors.Is(err, scan.ErrTooLarge):
		return &Error{Code: 513, Detail: err.Error() + "; the limit is " + strconv.Itoa(scan.MaxMessage) + " bytes"}
	case errors.Is(err, scan.ErrHeaderCount), errors.Is(err, scan.ErrLineLength), errors.Is(err, scan.ErrViaCount):
		return &Error{Code: 513, Detail: err.Error()}
	}
	return bad(err.Error())
}
