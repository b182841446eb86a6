package replay

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"sallyport/nat"
)

// packet is one captured packet. Its bytes are valid until the next one is read.
type packet struct {
	at    time.Time
	link  layers.LinkType
	data  []byte
	cut   bool           // it was longer than the capture's snap length
	place int            // where in the machine it was seen, as far as the file tells
	face  *nat.Interface // the listener, where the flight recorder wrote the file
}

// source is a file of packets.
type source interface {
	// next reads a packet. io.EOF: the file has ended where a file ends.
	next() (packet, error)
	// dropped is how many packets the capturing program says that it missed.
	dropped() uint64
}

// openSource tells the file formats apart.
func openSource(r io.Reader) (source, error) {
	buffered := bufio.NewReaderSize(r, 64<<10)
	magic, err := buffered.Peek(4)
	if err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		unpacked, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, fmt.Errorf("it is no gzip file: %w", err)
		}
		buffered = bufio.NewReaderSize(unpacked, 64<<10)
		magic, _ = buffered.Peek(4)
	}
	switch {
	case len(magic) == 0:
		return nil, errors.New("it is empty")
	case string(magic) == "\x0a\x0d\x0d\x0a":
		return openNg(buffered)
	}
	return openPcap(buffered)
}

// pcapFile is a file in the format of old.
type pcapFile struct{ r *pcapgo.Reader }

func openPcap(r io.Reader) (source, error) {
	p, err := pcapgo.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("it is neither a pcap nor a pcapng file (%w)", err)
	}
	if p.Snaplen() > maxPacket {
		p.SetSnaplen(maxPacket) // a packet that claims to be larger is none
	}
	return &pcapFile{p}, nil
}

func (f *pcapFile) next() (packet, error) {
	data, ci, err := f.r.ZeroCopyReadPacketData()
	if err != nil {
		return packet{}, err
	}
	// The upper bits say how long a frame's check sum is (draft-ietf-opsawg-pcap §5).
	return packet{at: ci.Timestamp, link: f.r.LinkType() & 0xffff, data: data, cut: ci.CaptureLength < ci.Length}, nil
}

func (f *pcapFile) dropped() uint64 { return 0 }

// ngFile is a file in the format of today: several interfaces, perhaps several sections.
type ngFile struct {
	r      *pcapgo.NgReader
	blocks *blocks
	faces  map[int]*nat.Interface // what has been looked up in this section
	lost   map[int]uint64         // what the capturing program says of each interface
	before uint64                 // lost in sections before
}

func openNg(r *bufio.Reader) (source, error) {
	f := &ngFile{blocks: &blocks{r: r}, faces: map[int]*nat.Interface{}, lost: map[int]uint64{}}
	ng, err := pcapgo.NewNgReader(f.blocks, pcapgo.NgReaderOptions{
		WantMixedLinkType: true, SkipUnknownVersion: true,
		SectionEndCallback: func([]pcapgo.NgInterface, pcapgo.NgSectionInfo) { f.section() },
		StatisticsCallback: func(i int, s pcapgo.NgInterfaceStatistics) {
			if s.PacketsDropped != pcapgo.NgNoValue64 && i < maxFaces {
				f.lost[i] = s.PacketsDropped
			}
		},
	})
	if err != nil {
		return nil, fmt.Errorf("its first section cannot be read: %w", f.reason(err))
	}
	f.r = ng
	return f, nil
}

func (f *ngFile) section() {
	f.before = f.dropped()
	clear(f.faces)
	clear(f.lost)
}

func (f *ngFile) dropped() uint64 {
	n := f.before
	for _, lost := range f.lost {
		n += lost
	}
	return n
}

func (f *ngFile) next() (p packet, err error) {
	// A block whose parts do not fit together must not end the program, whatever it meets in the library.
	defer func() {
		if x := recover(); x != nil {
			err = fmt.Errorf("a block cannot be read: %v", x)
		}
	}()
	data, ci, err := f.r.ZeroCopyReadPacketData()
	if err != nil {
		return packet{}, f.reason(err)
	}
	return packet{
		at: ci.Timestamp.UTC(), link: linkOf(&ci), data: data, cut: ci.CaptureLength < ci.Length, place: ci.InterfaceIndex,
		face: f.face(ci.InterfaceIndex),
	}, nil
}

// reason prefers what was wrong with the blocks: the reader over them only sees an end.
func (f *ngFile) reason(err error) error {
	if f.blocks.err != nil && !errors.Is(f.blocks.err, io.EOF) {
		return f.blocks.err
	}
	return err
}

func linkOf(ci *gopacket.CaptureInfo) layers.LinkType {
	if len(ci.AncillaryData) > 0 {
		if link, ok := ci.AncillaryData[0].(layers.LinkType); ok {
			return link
		}
	}
	return layers.LinkTypeEthernet
}

// face is the listener that an interface of the file stands for, or nil.
func (f *ngFile) face(n int) *nat.Interface {
	if i, there := f.faces[n]; there {
		return i
	}
	described, err := f.r.Interface(n)
	if err != nil {
		return nil
	}
	i := listenerNamed(described.Name)
	f.faces[n] = i
	return i
}

// listenerNamed reads what nat.Interface.String writes, "outside/phones udp 203.0.113.10:5060"; nil for anything else.
func listenerNamed(name string) *nat.Interface {
	words := strings.Fields(name)
	if len(words) != 3 {
		return nil
	}
	bind, err := netip.ParseAddrPort(words[2])
	transport, known := nat.ParseTransport(words[1])
	if err != nil || !known {
		return nil
	}
	for _, side := range []nat.Side{nat.Outside, nat.Inside} {
		for _, realm := range []nat.Realm{nat.Phones, nat.Trunks} {
			if words[0] == side.String()+"/"+realm.String() {
				return &nat.Interface{Side: side, Realm: realm, Transport: transport, Bind: bind, Advertised: bind}
			}
		}
	}
	return nil
}
