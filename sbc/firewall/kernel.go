package firewall

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// The names of what we have in the kernel.
const (
	tableName = "sallyport"
	chainName = "input"
)

var setNames = [2]string{"banned4", "banned6"}

// netfilter is the kernel's nf_tables.
type netfilter struct {
	ns   int
	sets [2]*nftables.Set // by family: IPv4, IPv6
}

func (n *netfilter) open() (*nftables.Conn, error) {
	if n.ns == 0 {
		return nftables.New()
	}
	return nftables.New(nftables.WithNetNSFd(n.ns))
}

func table() *nftables.Table {
	return &nftables.Table{Name: tableName, Family: nftables.TableFamilyINet}
}

func (n *netfilter) build(listeners []Listener) error {
	c, err := n.open()
	if err != nil {
		return err
	}
	t := table()
	c.AddTable(t) // so that there is one to delete
	c.DelTable(t)
	c.AddTable(t)
	for family, name := range setNames {
		key := nftables.TypeIPAddr
		if family == 1 {
			key = nftables.TypeIP6Addr
		}
		n.sets[family] = &nftables.Set{Table: t, Name: name, KeyType: key, Interval: true, HasTimeout: true}
		if err := c.AddSet(n.sets[family], nil); err != nil {
			return err
		}
	}
	accept := nftables.ChainPolicyAccept
	// Before those that administrators use (filter, 0), so that a rule of theirs that accepts our ports does not hide ours.
	chain := c.AddChain(&nftables.Chain{
		Name: chainName, Table: t, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookInput,
		Priority: nftables.ChainPriorityRef(-10), Policy: &accept,
	})
	for _, l := range listeners {
		c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: n.rule(l)})
	}
	return c.Flush()
}

// rule drops what comes from a banned source to a listener.
func (n *netfilter) rule(l Listener) []expr.Any {
	a := l.Bind.Addr().Unmap()
	family, from, to, size := byte(unix.NFPROTO_IPV4), uint32(12), uint32(16), uint32(4) // RFC 791 §3.1
	if a.Is6() {
		family, from, to, size = unix.NFPROTO_IPV6, 8, 24, 16 // RFC 8200 §3
	}
	protocol := byte(unix.IPPROTO_UDP)
	if l.TCP {
		protocol = unix.IPPROTO_TCP
	}
	set := n.sets[0]
	if a.Is6() {
		set = n.sets[1]
	}
	is := func(value []byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: value} }
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, is([]byte{family}),
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, is([]byte{protocol}),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: to, Len: size}, is(a.AsSlice()),
		// The destination port stands at the same place in UDP and TCP (RFC 768, RFC 9293 §3.1).
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		is(binaryutil.BigEndian.PutUint16(l.Bind.Port())),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: from, Len: size},
		&expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID},
		&expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop},
	}
}

func (n *netfilter) change(now time.Time, remove, add []Entry) error {
	c, err := n.open()
	if err != nil {
		return err
	}
	for family, set := range n.sets {
		of := func(list []Entry) (out []Entry) {
			for _, e := range list {
				if e.Prefix.Addr().Is4() == (family == 0) {
					out = append(out, e)
				}
			}
			return out
		}
		for chunk := range slices.Chunk(of(remove), chunkSize) {
			if err := errors.Join(c.SetDeleteElements(set, elements(now, chunk, false)), c.Flush()); err != nil {
				return fmt.Errorf("lifting %d bans: %w", len(chunk), err)
			}
		}
		for chunk := range slices.Chunk(of(add), chunkSize) {
			if err := errors.Join(c.SetAddElements(set, elements(now, chunk, true)), c.Flush()); err != nil {
				return fmt.Errorf("adding %d bans: %w", len(chunk), err)
			}
		}
	}
	return nil
}

// elements writes ranges as the kernel has intervals: where each begins, with its end in time, and where it is over.
func elements(now time.Time, list []Entry, timed bool) (out []nftables.SetElement) {
	for _, e := range list {
		start := nftables.SetElement{Key: e.Prefix.Addr().AsSlice()}
		if timed && !e.Until.IsZero() {
			start.Timeout = max(e.Until.Sub(now), time.Millisecond)
		}
		out = append(out, start)
		if end := after(e.Prefix); end.IsValid() { // else it ends where all addresses do
			out = append(out, nftables.SetElement{Key: end.AsSlice(), IntervalEnd: true})
		}
	}
	return out
}

func (n *netfilter) drop() error {
	c, err := n.open()
	if err != nil {
		return err
	}
	c.DelTable(table())
	if err := c.Flush(); err != nil && !errors.Is(err, syscall.ENOENT) {
		return err
	}
	return nil
}
