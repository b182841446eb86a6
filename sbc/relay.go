package sbc

import (
	"context"
	"io"

	"sallyport/media/epoll"
)

// RelayLoad is a fixed load for the relay engine alone.
type RelayLoad = epoll.Load

// ServeRelay runs the relay engine alone, in a process that does nothing else, until in ends: what its processor time is
// measured on.
func ServeRelay(ctx context.Context, load RelayLoad, in io.Reader, out io.Writer) error {
	return epoll.Serve(ctx, load, in, out)
}
