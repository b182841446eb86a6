package process

import (
	"time"

	"sallyport/media"
)

// A media process that ends gives its ports back one after the other, which takes a moment. Whoever opened them meanwhile would be without
// some of them for as long as it lives.
const (
	missingEvery  = 20 * time.Millisecond
	missingStill  = 250 * time.Millisecond // ports of which none comes free for so long are somebody else's
	missingWithin = 2 * time.Second
)

// openRelay opens the ports that signalling asks for; while there are more and more of them, again.
func (s *server) openRelay(h *hello) (*relay, error) {
	hears := media.Listener{Hinted: s.hinted, Agreed: s.agreed, Tapped: s.tapped}
	began := time.Now()
	for fewest, since := h.layout.Legs()+1, began; ; {
		r, err := openRelay(h.layout, s.options.Backend, h.certificate, hears)
		if err != nil {
			return nil, err
		}
		n, now := len(r.board.Missing()), time.Now()
		if n < fewest {
			fewest, since = n, now
		}
		if n == 0 || now.Sub(since) >= missingStill || now.Sub(began) >= missingWithin {
			return r, nil
		}
		r.close()
		time.Sleep(missingEvery)
	}
}
