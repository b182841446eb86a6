package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// Error is a refused or failed request, with what to do next.
type Error struct {
	Status int    `json:"-"` // HTTP
	What   string `json:"error"`
	Hint   string `json:"hint,omitempty"`
}

// Error is the text with the hint on a line of its own.
func (e *Error) Error() string {
	if e.Hint == "" {
		return e.What
	}
	return e.What + "\n  hint: " + e.Hint
}

// NotFound says that there is no such thing.
func NotFound(hint, format string, args ...any) error {
	return &Error{Status: http.StatusNotFound, What: fmt.Sprintf(format, args...), Hint: hint}
}

// BadRequest says that the request cannot be understood.
func BadRequest(hint, format string, args ...any) error {
	return &Error{Status: http.StatusBadRequest, What: fmt.Sprintf(format, args...), Hint: hint}
}

// asError gives any error a status.
func asError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if isTimeout(err) {
		return &Error{Status: http.StatusGatewayTimeout, What: "the program did not answer in time", Hint: "it may be overloaded: see its log"}
	}
	return &Error{Status: http.StatusInternalServerError, What: err.Error()}
}

// decodeError reads a refusal; a body that is none gives its status.
func decodeError(status int, body []byte) *Error {
	e := &Error{Status: status}
	if json.Unmarshal(body, e) != nil || e.What == "" {
		e.What = fmt.Sprintf("the program answers %d %s", status, http.StatusText(status))
	}
	e.Status = status
	return e
}
