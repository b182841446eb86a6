//go:build linux

package process

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"sallyport/media"
)

// table is the shared memory as the media process has it.
type table struct {
	fd     int
	region []byte
}

// makeTable makes a memfd whose length nobody can change any more: whoever has mapped it never meets a missing page.
// Where the kernel can (5.1), nobody but this mapping may write it either.
func makeTable(layout media.Layout, base time.Time) (*table, *media.Board, error) {
	size := media.BoardSize(layout)
	fd, err := unix.MemfdCreate("sbc-media", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, nil, fmt.Errorf("media/process: shared memory: %w", err)
	}
	t := &table{fd: fd}
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		t.close()
		return nil, nil, fmt.Errorf("media/process: shared memory of %d bytes: %w", size, err)
	}
	if t.region, err = unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		t.close()
		return nil, nil, fmt.Errorf("media/process: shared memory of %d bytes: %w", size, err)
	}
	for at := 0; at < media.BoardCore(layout); at += os.Getpagesize() {
		t.region[at] = 0 // what is written gets its memory: no packet is to wait for it
	}
	seals := unix.F_SEAL_SHRINK | unix.F_SEAL_GROW
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals|unix.F_SEAL_FUTURE_WRITE|unix.F_SEAL_SEAL); err != nil {
		if _, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals|unix.F_SEAL_SEAL); err != nil {
			t.close()
			return nil, nil, fmt.Errorf("media/process: sealing the shared memory: %w", err)
		}
	}
	now, monotonic := clocks()
	return t, media.LayBoard(t.region, layout, base, monotonic-int64(now.Sub(base))), nil
}

func (t *table) close() {
	if t.region != nil {
		_ = unix.Munmap(t.region)
	}
	_ = unix.Close(t.fd)
}

// viewTable maps a table that came over the socket, for reading only, and closes the descriptor.
func viewTable(fd int, layout media.Layout) (*media.Board, []byte, error) {
	defer func() { _ = unix.Close(fd) }()
	const needed = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	if seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0); err != nil || seals&needed != needed {
		return nil, nil, fmt.Errorf("media/process: the shared memory is not sealed (%#x): %w", seals, os.ErrInvalid)
	}
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return nil, nil, fmt.Errorf("media/process: shared memory: %w", err)
	}
	size := media.BoardSize(layout)
	if stat.Size != int64(size) {
		return nil, nil, fmt.Errorf("media/process: the shared table has %d bytes, not %d: both processes must be of one build", stat.Size, size)
	}
	region, err := unix.Mmap(fd, 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, fmt.Errorf("media/process: shared memory: %w", err)
	}
	now, monotonic := clocks()
	board, err := media.ViewBoard(region, layout, now, monotonic)
	if err != nil {
		_ = unix.Munmap(region)
		return nil, nil, err
	}
	return board, region, nil
}

// clocks reads the clock that the table's times are in, and what Go makes of the same moment.
func clocks() (now time.Time, monotonic int64) {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // it never fails for this clock
	return time.Now(), ts.Nano()
}
