package replay

import (
	"strings"
	"testing"
)

// BenchmarkCapture reads what a busy gate captures: much more media than signalling.
func BenchmarkCapture(b *testing.B) {
	c := newTape(b)
	for i := range 2000 {
		if i%50 == 0 {
			c.registers(office+":40001", "201", "r1", 1+2*i)
		}
		c.udp(office+":20000", "203.0.113.10:30000", "\x80\x00"+strings.Repeat("v", 170))
	}
	open := c.open()
	s := setup(nil)
	data := c.pcap(1)
	b.SetBytes(int64(len(data)))
	b.Run("read", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := open.each(func(*Message) bool { return true }); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("judge", func(b *testing.B) {
		r, err := newRun(open, s)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := r.all(open, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
}
