package metrics

import (
	"net"
	"net/http"
	"slices"
	"sync"
)

// idlers closes the connection that has been idle longest when there is no room for another: whoever holds connections and asks
// for nothing keeps no monitoring system out.
type idlers struct {
	mu   sync.Mutex
	open int
	idle []net.Conn // the longest first
}

// changed is http.Server's ConnState.
func (i *idlers) changed(c net.Conn, state http.ConnState) {
	if oldest := i.note(c, state); oldest != nil {
		_ = oldest.Close() // its goroutine hears of it, and makes room
	}
}

func (i *idlers) note(c net.Conn, state http.ConnState) (oldest net.Conn) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.idle = slices.DeleteFunc(i.idle, func(x net.Conn) bool { return x == c })
	switch state {
	case http.StateNew:
		i.open++
	case http.StateIdle:
		i.idle = append(i.idle, c)
	case http.StateClosed, http.StateHijacked:
		i.open--
	case http.StateActive: // it asks something
	}
	if i.open >= maxConnections && len(i.idle) > 0 {
		oldest, i.idle = i.idle[0], i.idle[1:]
	}
	return oldest
}
