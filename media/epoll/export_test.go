//go:build linux

package epoll

import (
	"io"

	"sallyport/media"
)

// What the benchmark's floor shares with the worker.
const (
	Batch       = batch
	Largest     = largest
	RawWait     = rawWait
	MemoryLimit = memoryLimit
)

// Bind opens one socket as the back end does.
var Bind = bind

// Point sets the streams of a load up.
func (load Load) Point(plane *media.Plane, out io.Writer) ([]media.ID, error) {
	return load.point(plane, out)
}
