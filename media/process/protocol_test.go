//go:build linux

package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sallyport/media"
)

// layoutOf is the layout that a plane asks its back end for.
func layoutOf(tb testing.TB, cfg media.Config) (layout media.Layout) {
	tb.Helper()
	if _, err := media.New(cfg, asker{&layout}, 1); err != nil {
		tb.Fatal(err)
	}
	return layout
}

type asker struct{ layout *media.Layout }

func (a asker) Open(l media.Layout, _ media.Listener) (*media.Board, error) {
	*a.layout = l
	return media.NewBoard(l, time.Unix(1e9, 0)), nil
}
func (asker) Post(media.Command) {}
func (asker) Close() error       { return nil }

func testLayout(tb testing.TB) media.Layout {
	return layoutOf(tb, media.Config{
		Addresses: [2]netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")}, First: 26000, Last: 26019,
	})
}

func TestMessagesCrossTheBorder(t *testing.T) {
	h := hello{protocol: protocol, board: media.BoardVersion, build: "1.2.3", layout: testLayout(t)}
	for _, h.certificate = range []media.Certificate{{}, {DER: []byte("der"), Key: []byte("key")}, {DER: make([]byte, 1000), Key: make([]byte, 24)}} {
		if b := h.datagram(); len(b) != helloLen {
			t.Errorf("hello of %d bytes, not %d", len(b), helloLen)
		} else if back, err := decodeHello(b); err != nil || !reflect.DeepEqual(back, h) {
			t.Errorf("%v: %+v", err, back)
		}
	}
	w := welcome{pid: 7, workers: 2, follows: true, size: 1 << 40, build: strings.Repeat("b", 60), backend: "epoll", certificate: media.Certificate{DER: []byte("d"), Key: []byte("k")}}
	b := w.datagram()
	if w.build = w.build[:buildLen]; len(b) != welcomeLen {
		t.Errorf("welcome of %d bytes, not %d", len(b), welcomeLen)
	} else if back, err := decodeWelcome(b); err != nil || !reflect.DeepEqual(back, w) {
		t.Errorf("%v: %+v", err, back)
	}
	r := RefusedError{PID: 7, Build: "x", Text: "no\nports", cause: causePorts, errno: syscall.EADDRNOTAVAIL}
	back, err := decodeRefusal(r.datagram())
	if r.Text = "no?ports"; err != nil || !reflect.DeepEqual(*back, r) || !strings.Contains(back.Error(), "no?ports") || !errors.Is(back, syscall.EADDRNOTAVAIL) {
		t.Errorf("%v: %+v", err, back)
	}
	if (&RefusedError{}).Unwrap() != nil {
		t.Error("no error of the kernel is one")
	}
	list := []hint{{media.Freed, 4, 5}, {media.Latched, 6, 7}}
	k, count, rest, err := open(hintDatagram(list))
	if got, hintsErr := decodeHints(nil, count, rest); err != nil || hintsErr != nil || k != kindHints || !reflect.DeepEqual(got, list) {
		t.Errorf("%v %v: %+v", err, hintsErr, got)
	}
	k, count, rest, err = open(appendSync(nil, kindSynced, 1<<50))
	if token, syncErr := decodeSync(count, rest); err != nil || syncErr != nil || k != kindSynced || token != 1<<50 {
		t.Errorf("%v %v: %d", err, syncErr, token)
	}
	if n := len(appendCommands(nil, make([]media.Command, perPacket))); n != maxDatagram {
		t.Errorf("a full datagram has %d bytes, not %d", n, maxDatagram)
	}
}

// A certificate is whole or none, whatever a datagram says of it.
func TestCertificateCrossesTheBorder(t *testing.T) {
	for name, c := range map[string]media.Certificate{
		"too long": {DER: make([]byte, certLen-4), Key: []byte{1}},
		"none":     {},
	} {
		if back, err := decodeCertificate(appendCertificate(nil, c)); err != nil || !back.Empty() || back.DER != nil {
			t.Errorf("%s: %v: %d and %d bytes", name, err, len(back.DER), len(back.Key))
		}
	}
	good := appendCertificate(nil, media.Certificate{DER: []byte{1, 2}, Key: []byte{3}})
	for name, b := range map[string][]byte{
		"short":                       good[:certLen-1],
		"long":                        append(bytes.Clone(good), 0),
		"a certificate without a key": append([]byte{9, 0, 0, 0}, good[4:]...),
		"a key without a certificate": append([]byte{0, 0, 9, 0}, good[4:]...),
		"more than there is":          append([]byte{255, 3, 2, 0}, good[4:]...),
		"much more than there is":     append([]byte{255, 255, 255, 255}, good[4:]...),
	} {
		if _, err := decodeCertificate(b); !errors.Is(err, errDatagram) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A greeting of another version is read as far as it says which.
func TestOtherVersionsAreToldApart(t *testing.T) {
	h := hello{protocol: protocol + 1, board: 9, build: "future"}
	b := h.datagram()
	b = append(b[:headLen+8+buildLen], "whatever a later layout looks like"...)
	if back, err := decodeHello(b); err != nil || back.current() || back.protocol != protocol+1 || back.board != 9 || back.build != "future" {
		t.Errorf("%v: %+v", err, back)
	}
}

// Signalling of another version is told so, and what both speak.
func TestOtherVersionsAreRefused(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "media.sock")
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, ServeOptions{Socket: socket, Build: "now"}) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	var c *net.UnixConn
	var err error
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) { // a bound for failure
		if c, err = dial(ctx, socket); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	defer func() { _ = c.Close() }()
	h := hello{protocol: protocol + 1, board: media.BoardVersion, build: "next"}
	if _, err := c.Write(h.datagram()[:headLen+8+buildLen]); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, maxDatagram)
	n, err := c.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	refused, err := decodeRefusal(buf[:n])
	if err != nil || refused.cause != causeVersion || !strings.Contains(refused.Text, fmt.Sprintf("signalling of build next wants %d with %d", protocol+1, media.BoardVersion)) {
		t.Errorf("%v: %v", err, refused)
	}
}

func FuzzClientDatagram(f *testing.F) {
	layout := testLayout(f)
	h := hello{protocol: protocol, board: media.BoardVersion, build: "b", layout: layout}
	f.Add(h.datagram())
	h.certificate = media.Certificate{DER: []byte("der"), Key: []byte("key")}
	f.Add(h.datagram())
	f.Add(appendCommands(nil, []media.Command{{Leg: 2, Peer: 22, Generation: 1, Free: true}, {Leg: 4, Peer: 24, Generation: 2}}))
	f.Add(appendSync(nil, kindSync, 3))
	f.Add(head(nil, kindBye, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := decodeHello(b); err == nil && h.current() {
			if again := h.datagram(); len(again) != helloLen {
				t.Fatalf("%+v", h)
			}
		}
		k, count, rest, err := open(b)
		if err != nil {
			return
		}
		if list, err := decodeCommands(nil, count, rest, layout); err == nil {
			if k == kindCommands && !bytes.Equal(appendCommands(nil, list), b) {
				t.Fatalf("%x became %x", b, appendCommands(nil, list))
			}
			for i := range list {
				if w := layout.Worker(int(list[i].Leg)); w != layout.Worker(int(list[i].Peer)) {
					t.Fatalf("%+v", list[i])
				}
			}
		}
		_, _ = decodeSync(count, rest)
	})
}

func FuzzServerDatagram(f *testing.F) {
	w := welcome{pid: 1, workers: 1, size: 4096, build: "b", backend: "epoll"}
	f.Add(w.datagram())
	f.Add((&RefusedError{PID: 1, Build: "b", Text: "no", cause: causeBusy}).datagram())
	f.Add(hintDatagram([]hint{{media.Silent, 2, 1}}))
	f.Add(appendSync(nil, kindSynced, 3))
	f.Fuzz(func(t *testing.T, b []byte) {
		if w, err := decodeWelcome(b); err == nil {
			if again, err := decodeWelcome(w.datagram()); err != nil || !reflect.DeepEqual(again, w) {
				t.Fatalf("%v: %+v became %+v", err, w, again)
			}
		}
		if r, err := decodeRefusal(b); err == nil {
			if text := r.Error(); strings.ContainsAny(text, "\n\r\x00\x1b") {
				t.Fatalf("%q goes into a log", text)
			}
		}
		if k, count, rest, err := open(b); err == nil {
			if list, err := decodeHints(nil, count, rest); err == nil && k == kindHints && !bytes.Equal(hintDatagram(list), b) {
				t.Fatalf("%x became %x", b, hintDatagram(list))
			}
			_, _ = decodeSync(count, rest)
		}
	})
}

// The table's length is fixed, and nobody but its maker writes it.
func TestTableIsSealed(t *testing.T) {
	layout := testLayout(t)
	table, board, err := makeTable(layout, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	defer table.close()
	for _, size := range []int64{0, int64(len(table.region)) + 1} {
		if err := unix.Ftruncate(table.fd, size); err == nil {
			t.Errorf("its length became %d", size)
		}
	}
	if _, err := unix.FcntlInt(uintptr(table.fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE); err == nil {
		t.Error("it took another seal")
	}
	if region, err := unix.Mmap(table.fd, 0, len(table.region), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err == nil {
		_ = unix.Munmap(region)
		if seals, _ := unix.FcntlInt(uintptr(table.fd), unix.F_GET_SEALS, 0); seals&unix.F_SEAL_FUTURE_WRITE != 0 {
			t.Error("somebody else may write it")
		}
	}
	board.SetMissing(5)
	fd, err := unix.Dup(table.fd)
	if err != nil {
		t.Fatal(err)
	}
	seen, region, err := viewTable(fd, layout)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(region) }()
	if m := seen.Missing(); len(m) != 1 || m[0] != 5 {
		t.Errorf("missing %v", m)
	}
	if d := seen.Base.Sub(board.Base); d < -time.Second || d > time.Second {
		t.Errorf("the bases differ by %v", d)
	}
}

// Memory that could shrink under its reader, or that is of another length, is not read.
func TestForeignTablesAreRefused(t *testing.T) {
	layout := testLayout(t)
	memory := func(size, seals int) int {
		fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Ftruncate(fd, int64(size)); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
			t.Fatal(err)
		}
		return fd
	}
	const sealed = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	pipe := [2]int{}
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(pipe[1]) }()
	for says, fd := range map[string]int{
		"not sealed":   memory(media.BoardSize(layout), unix.F_SEAL_SHRINK|unix.F_SEAL_GROW),
		"not sealed (": pipe[0],
		"has 64 bytes": memory(64, sealed),
		"no table":     memory(media.BoardSize(layout), sealed),
	} {
		if _, _, err := viewTable(fd, layout); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want it to say %q", err, says)
		}
	}
}

// While the socket is full the newest state of each leg waits, and nothing more.
func TestQueueIsBounded(t *testing.T) {
	var q queue
	q.post(media.Command{}) // before open: nobody is there
	q.open()
	for n := range uint32(1000) {
		for leg := range int32(100) {
			q.post(media.Command{Leg: leg * 2, Generation: n})
		}
	}
	if len(q.latest) != 100 || len(q.order) != 100 {
		t.Fatalf("%d commands in %d places", len(q.latest), len(q.order))
	}
	token := q.sync()
	list, got, ok := q.take(nil)
	if len(list) != perPacket || got != 0 || !ok {
		t.Fatalf("%d commands, token %d", len(list), got)
	}
	q.post(media.Command{Leg: 0, Generation: 2000})
	q.post(media.Command{Leg: 198, Generation: 2000})
	rest, got, ok := q.take(nil)
	if len(rest) != 100-perPacket+1 || got != token || !ok {
		t.Fatalf("%d commands, token %d", len(rest), got)
	}
	for i, c := range append(list, rest...) {
		if want := map[bool]uint32{true: 2000, false: 999}[i >= 99]; c.Generation != want {
			t.Errorf("command %d: leg %d, generation %d", i, c.Leg, c.Generation)
		}
	}
	q.post(media.Command{Leg: 2})
	q.sync()
	q.writing = false // it waits for more
	q.hold()
	q.release()
	if list, got, _ := q.take(nil); len(list) != 0 || got != token+1 {
		t.Errorf("%d commands, token %d after a hold", len(list), got)
	}
	q.stop()
	q.post(media.Command{Leg: 2})
	if list, _, ok := q.take(nil); len(list) != 0 || ok {
		t.Error("a stopped queue took a command")
	}
}
