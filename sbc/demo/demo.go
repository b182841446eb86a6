package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"go.uber.org/zap"

	"sallyport/sbc/tu"
)

// Options say how the demonstration runs.
type Options struct {
	Once bool        // end after the scenes; else stay up until the context ends
	JSON bool        // one document instead of text
	Out  io.Writer   // needed
	Log  *zap.Logger // of the gate; nil: none
}

// sceneTime bounds a scene: one that hangs is a failure, not a hang.
const sceneTime = 15 * time.Second

// settle lets the last messages of a scene (an ACK, a 200 to BYE) arrive before the next begins.
const settle = 30 * time.Millisecond

// Run plays every scene and reports. The error says why it could not begin, or that the context ended within a scene.
func Run(ctx context.Context, o Options) (Report, error) {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	text := o.Out
	if o.JSON {
		text = io.Discard
	}
	var r Report
	h, err := open(o.Log, func(notice string) {
		r.Notices = append(r.Notices, notice)
		fmt.Fprintln(text, "note: "+notice)
	})
	if err != nil {
		return r, err
	}
	defer h.close()
	r.Addresses, r.OK = h.addresses, true
	printAddresses(text, &r.Addresses)
	for i, sc := range scenes {
		s := h.play(ctx, sc)
		if err := ctx.Err(); err != nil {
			return r, fmt.Errorf("ended before scene %d was over: %w", i+1, err)
		}
		r.Scenes, r.OK = append(r.Scenes, s), r.OK && s.OK
		s.print(text, i+1)
	}
	h.traffic.stop()
	r.CDRs = h.records.all()
	if len(r.CDRs) != h.calls {
		r.OK = false
		fmt.Fprintf(text, "\nPROBLEM  %d CDRs for %d calls\n", len(r.CDRs), h.calls)
	}
	r.printEnd(text)
	if o.JSON {
		e := json.NewEncoder(o.Out)
		e.SetIndent("", "  ")
		if err := e.Encode(&r); err != nil {
			return r, err
		}
	}
	if !o.Once {
		stay(ctx, h, text)
	}
	return r, nil
}

func (h *house) play(ctx context.Context, sc scene) Scene {
	ctx, cancel := context.WithTimeout(ctx, sceneTime)
	defer cancel()
	s := Scene{Name: sc.name, Outside: sc.outside}
	h.traffic.begin()
	sc.play(ctx, h, &s)
	time.Sleep(settle)
	s.Ladder, _ = h.traffic.end()
	s.OK = len(s.Problems) == 0
	return s
}

func printAddresses(w io.Writer, a *Addresses) {
	fmt.Fprintf(w, `Sallyport on loopback, with a provider and a phone outside, and a PBX inside, that call each other through it:

  provider %-18s  ->  outside %s  GATE  inside %s  <-  PBX %s
  phone    %-18s  ->  outside %s  GATE  inside %s  <-
  audio (PCMU) through ports %d-%d of the gate, on both sides
  the phone stands behind a NAT: it takes itself for %s
`, a.Provider, a.Outside, a.Inside, a.PBX, a.Phone.String()+":any", a.OutsidePhones, a.InsidePhones, a.Media[0], a.Media[1], a.PhoneHome)
}

func (r *Report) printEnd(w io.Writer) {
	fmt.Fprintln(w, "\nThe call records (CDRs):")
	for i := range r.CDRs {
		fmt.Fprintln(w, jsonLine(r.CDRs[i]))
	}
	if r.OK {
		fmt.Fprintf(w, "\ndemo: %d scenes, all well\n", len(r.Scenes))
		return
	}
	fmt.Fprintf(w, "\ndemo: %d scenes, FAILED:", len(r.Scenes))
	for i, s := range r.Scenes {
		if !s.OK {
			fmt.Fprintf(w, " %d (%s)", i+1, s.Name)
		}
	}
	fmt.Fprintln(w)
}

// stay keeps everything up for calls from other programs, and shows their records.
func stay(ctx context.Context, h *house, w io.Writer) {
	a := &h.addresses
	fmt.Fprintf(w, `
Up until Ctrl-C. Call through the gate yourself: anybody at 127.0.0.41-43 is the provider, at 127.0.0.31 the PBX.

  as the provider   sipp -sn uac -i 127.0.0.41 -s %[1]s -m 1 -d 2000 %[2]s
  as the PBX        sipp -sn uac -i 127.0.0.31 -s %[7]s -m 1 -d 2000 %[3]s
  as a stranger     sipp -sn uac -i %[4]s -s %[1]s -m 1 -timeout 3s %[2]s    (silence)

  as a phone        %[8]s

  %[1]s and %[7]s answer and send your audio back, %[5]s is busy, %[6]s rings until you give up.

`, numberEcho, a.Outside, a.Inside, a.Stranger, numberBusy, numberRing, numberAway, a.visiting())
	h.records.hear(func(c tu.CDR) { fmt.Fprintln(w, jsonLine(c)) })
	<-ctx.Done()
	h.records.hear(nil)
}

func itoa(n int) string { return strconv.Itoa(n) }
