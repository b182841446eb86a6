package trace

import (
	"fmt"
	"io"
	"math"
	"net/netip"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"sallyport/nat"
)

// application names the writer of a dump in the file's head.
const application = "Sallyport flight recorder"

// Dump writes what the recorder holds as a pcapng file, oldest message first. An interface of the file is a listener of
// the program, named as nat.Interface names itself; a packet's comment is the reason of the verdict. Messages may be
// noted meanwhile; those that come after the call began may be missing.
func (r *Recorder) Dump(w io.Writer) error {
	if r == nil {
		return fmt.Errorf("the flight recorder is off\n  hint: set policy.recorder to a size such as 16MiB, and restart")
	}
	d := dump{to: w, faces: map[nat.Interface]int{}, buffer: gopacket.NewSerializeBuffer(), left: r.leftOut.Load()}
	known, strangers := r.known.cursor(), r.strangers.cursor()
	for a, b := known.advance(), strangers.advance(); a || b; {
		first := known
		if !a || b && strangers.current.at.Before(known.current.at) {
			first = strangers
		}
		if err := d.write(&first.current); err != nil {
			return err
		}
		if first == known {
			a = known.advance()
		} else {
			b = strangers.advance()
		}
	}
	return d.end()
}

// dump is a file in the making.
type dump struct {
	to     io.Writer
	file   *pcapgo.NgWriter
	faces  map[nat.Interface]int // the listeners of the file so far
	buffer gopacket.SerializeBuffer
	left   uint64 // messages that are missing
	count  uint64
	last   time.Time
}

// face is the number of a listener in the file.
func (d *dump) face(i nat.Interface) (int, error) {
	if n, there := d.faces[i]; there {
		return n, nil
	}
	described := pcapgo.NgInterface{Name: i.String(), LinkType: layers.LinkTypeRaw, SnapLength: math.MaxUint16}
	n := 0
	if d.file == nil {
		if err := d.open(described); err != nil {
			return 0, err
		}
	} else {
		var err error
		if n, err = d.file.AddInterface(described); err != nil {
			return 0, err
		}
	}
	d.faces[i] = n
	return n, nil
}

// open begins the file; it needs an interface to begin with.
func (d *dump) open(first pcapgo.NgInterface) (err error) {
	comment := "SIP messages with made-up IP and UDP headers; secrets are overwritten"
	if d.left > 0 {
		comment += fmt.Sprintf("; %d messages of strangers were left out", d.left)
	}
	d.file, err = pcapgo.NewNgWriterInterface(d.to, first, pcapgo.NgWriterOptions{
		SectionInfo: pcapgo.NgSectionInfo{Application: application, Comment: comment},
	})
	return err
}

func (d *dump) write(r *record) error {
	n, err := d.face(r.face)
	if err != nil {
		return err
	}
	mask(r.data)
	from, to, direction := r.remote, r.face.Bind, pcapgo.NgEpbFlagDirectionInbound
	if r.sent {
		from, to, direction = to, from, pcapgo.NgEpbFlagDirectionOutbound
	}
	if err := d.packet(from, to, r.data); err != nil {
		return err
	}
	opts := pcapgo.NgPacketOptions{Flags: &pcapgo.NgEpbFlags{Direction: direction}}
	if said := r.said(); said != "" {
		opts.Comments = []string{said}
	}
	data := d.buffer.Bytes()
	d.count++
	d.last = r.at
	return d.file.WritePacketWithOptions(gopacket.CaptureInfo{
		Timestamp: r.at, CaptureLength: len(data), Length: len(data) + r.length - len(r.data), InterfaceIndex: n,
	}, data, opts)
}

// said is a verdict in words.
func (r *record) said() string {
	if r.refused {
		return "refused: " + r.reason
	}
	return r.reason
}

// packet puts a message into a datagram that could have brought it.
func (d *dump) packet(from, to netip.AddrPort, data []byte) error {
	udp := &layers.UDP{SrcPort: layers.UDPPort(from.Port()), DstPort: layers.UDPPort(to.Port())}
	var network gopacket.SerializableLayer
	// One of the two may be a mapped address on a socket of both families.
	if src, dst := from.Addr(), to.Addr(); src.Is4() && dst.Is4() {
		ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
		network = ip
		_ = udp.SetNetworkLayerForChecksum(ip)
	} else {
		s, t := src.As16(), dst.As16()
		ip := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolUDP, SrcIP: s[:], DstIP: t[:]}
		network = ip
		_ = udp.SetNetworkLayerForChecksum(ip)
	}
	opts := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	return gopacket.SerializeLayers(d.buffer, opts, network, udp, gopacket.Payload(data))
}

// end finishes the file. One without a message is a valid file too.
func (d *dump) end() error {
	if d.file == nil {
		if err := d.open(pcapgo.NgInterface{Name: "nothing", LinkType: layers.LinkTypeRaw}); err != nil {
			return err
		}
	}
	stats := pcapgo.NgInterfaceStatistics{LastUpdate: d.last, PacketsReceived: d.count + d.left, PacketsDropped: d.left}
	if err := d.file.WriteInterfaceStats(0, stats); err != nil {
		return err
	}
	return d.file.Flush()
}
