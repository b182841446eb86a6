package trace

import (
	"io"
	"math"
	"net/netip"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// Packet is a datagram of a File.
type Packet struct {
	At       time.Time
	Face     string // interface of the file
	From, To netip.AddrPort
	Sent     bool   // by the program; else received
	Comment  string // "": none
	Length   int    // of the datagram; Data may be cut short
	Data     []byte
}

// File writes a pcapng file packet by packet, with IP and UDP headers that are made up from the addresses. Times are in
// nanoseconds. Packets should come in the order of time; nothing depends on it.
type File struct {
	to      io.Writer
	section pcapgo.NgSectionInfo
	file    *pcapgo.NgWriter // nil: there was no packet yet
	faces   map[string]int
	buffer  gopacket.SerializeBuffer
	count   uint64
	last    time.Time
}

// NewFile begins a file. Application names the writer in its head.
func NewFile(to io.Writer, application, comment string) *File {
	return &File{
		to: to, section: pcapgo.NgSectionInfo{Application: application, Comment: comment}, faces: map[string]int{},
		buffer: gopacket.NewSerializeBuffer(),
	}
}

// Write adds a packet. What has been written reaches the file's reader with Flush.
func (f *File) Write(p *Packet) error {
	face, err := f.face(p.Face)
	if err != nil {
		return err
	}
	if err := f.wrap(p.From, p.To, p.Data); err != nil {
		return err
	}
	direction := pcapgo.NgEpbFlagDirectionInbound
	if p.Sent {
		direction = pcapgo.NgEpbFlagDirectionOutbound
	}
	opts := pcapgo.NgPacketOptions{Flags: &pcapgo.NgEpbFlags{Direction: direction}}
	if p.Comment != "" {
		opts.Comments = []string{p.Comment}
	}
	data := f.buffer.Bytes()
	f.count++
	f.last = p.At
	return f.file.WritePacketWithOptions(gopacket.CaptureInfo{
		Timestamp: p.At, CaptureLength: len(data), Length: len(data) + p.Length - len(p.Data), InterfaceIndex: face,
	}, data, opts)
}

// Count is how many packets the file has.
func (f *File) Count() uint64 { return f.count }

// Flush hands everything so far to whoever reads the file. It begins the file, if nothing has been written yet.
func (f *File) Flush() error {
	if f.file == nil {
		if _, err := f.face("sbc"); err != nil {
			return err
		}
	}
	return f.file.Flush()
}

// End says how many packets are missing and finishes the file. One without a packet is a valid file too.
func (f *File) End(missing uint64) error {
	if err := f.Flush(); err != nil {
		return err
	}
	stats := pcapgo.NgInterfaceStatistics{LastUpdate: f.last, PacketsReceived: f.count + missing, PacketsDropped: missing}
	if err := f.file.WriteInterfaceStats(0, stats); err != nil {
		return err
	}
	return f.file.Flush()
}

// face is the number of an interface in the file.
func (f *File) face(name string) (n int, err error) {
	n, there := f.faces[name]
	if there {
		return n, nil
	}
	described := pcapgo.NgInterface{Name: name, LinkType: layers.LinkTypeRaw, SnapLength: math.MaxUint16}
	if f.file == nil {
		f.file, err = pcapgo.NewNgWriterInterface(f.to, described, pcapgo.NgWriterOptions{SectionInfo: f.section})
	} else {
		n, err = f.file.AddInterface(described)
	}
	if err == nil {
		f.faces[name] = n
	}
	return n, err
}

// wrap puts a message into a datagram that could have brought it.
func (f *File) wrap(from, to netip.AddrPort, data []byte) error {
	udp := &layers.UDP{SrcPort: layers.UDPPort(from.Port()), DstPort: layers.UDPPort(to.Port())}
	var network gopacket.SerializableLayer
	// One of the two may be a mapped address on a socket of both families.
	if src, dst := from.Addr().Unmap(), to.Addr().Unmap(); src.Is4() && dst.Is4() {
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
	return gopacket.SerializeLayers(f.buffer, opts, network, udp, gopacket.Payload(data))
}
