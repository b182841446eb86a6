package config

import "sallyport/nat"

// srtp warns where the keys of SRTP stand in signalling that everybody on the way can read: RFC 4568 §8.3 wants that
// protected. It is allowed, for some equipment has nothing else, and who only overhears the media is kept out all the same.
func (c *checker) srtp() {
	const what = "the keys of SRTP travel in the signalling, which %s does not protect: whoever reads it can listen"
	p := c.doc.Outside.Phones.ports()
	if c.doc.Phones.SRTP == "required" && p.UDP+p.TCP > 0 {
		open := "udp"
		if p.UDP == 0 {
			open = "tcp"
		}
		c.warn("phones.srtp", "open outside.phones for tls alone", what, open)
	}
	if c.doc.PBX.SRTP != "off" {
		for _, n := range c.doc.PBX.Nodes {
			if t, ok := nat.ParseTransport(n.Transport); ok && !protects(t) {
				c.warn("pbx.srtp", "keep the network between gate and PBX to the two", what, n.Transport)
				break
			}
		}
	}
	for i := range c.doc.Trunks {
		t := &c.doc.Trunks[i]
		if t.SRTP == "off" {
			continue
		}
		for _, peer := range t.Peers {
			if at, ok := nat.ParseTransport(peer.Transport); ok && !protects(at) {
				c.warn(index("trunks", i)+".srtp", "ask the provider for tls", what, peer.Transport)
				break
			}
		}
	}
}

func protects(t nat.Transport) bool { return t != nat.UDP && t != nat.TCP }
