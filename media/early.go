package media

// A phone that is called may begin its handshake before its answer is here: both leave it in the same moment, and the answer
// goes the longer way. Without ICE nothing else comes from it until it repeats itself, a second later. So the first records of
// handshakes that nobody waits for yet are kept for a moment, and judged as any other once signalling has said who the peer
// is, where it is, and whose certificate it shows. Until then nobody is answered.

// early are the records that one worker has kept.
type early struct {
	latest int64 // when the last one came
	kept   [earlyMost]earlyRecord
}

// earlyRecord is one of them; its memory is used again.
type earlyRecord struct {
	at     int64 // 0: none
	from   Endpoint
	leg    int32
	record []byte
}

const (
	earlyFor   = int64(4e9) // so much later than the record may the answer be
	earlyMost  = 64         // of a worker: who sends them to all ports has the oldest forgotten, and fills no memory
	earlyOfLeg = 4          // so that who knows a port has no more than that one forgotten
	earlyBytes = 1500
)

// BeginsHandshake reports whether a record can be the first one of a handshake: a ClientHello in epoch 0 (RFC 6347 §4.1), and
// not the second one, which shows the cookie of a server that is no more (§4.2.1, §4.2.2: message_seq).
func BeginsHandshake(record []byte) bool {
	const handshake, clientHello = 22, 1
	return len(record) > 18 && record[0] == handshake && record[3] == 0 && record[4] == 0 && record[13] == clientHello &&
		record[17] == 0 && record[18] == 0
}

// tooEarly keeps a record that nobody waits for, if it begins a handshake.
func (e *Engine) tooEarly(now int64, i int, from Endpoint, record []byte) {
	if e.keying == nil || i&1 != 0 || from.port == 0 || len(record) > earlyBytes || !BeginsHandshake(record) || e.isOwn(from) {
		return
	}
	t := &e.early[e.share.Worker(i)]
	k := t.place(now, int32(i), from, record)
	if k.record == nil {
		k.record = make([]byte, 0, earlyBytes)
	}
	k.at, k.leg, k.from, k.record = now, int32(i), from, append(k.record[:0], record...)
	t.latest = now
}

// place is where a record is kept: in the place of the same one, if it is a repetition, else in that of the oldest; of the
// leg's own where it has as many as it may have.
func (t *early) place(now int64, leg int32, from Endpoint, record []byte) *earlyRecord {
	oldest, own, owned := &t.kept[0], (*earlyRecord)(nil), 0
	for n := range t.kept {
		k := &t.kept[n]
		if k.at != 0 && k.leg == leg && now-k.at <= earlyFor {
			if k.from == from && fragment(k.record) == fragment(record) {
				return k
			}
			if owned++; own == nil || k.at < own.at {
				own = k
			}
		}
		if k.at < oldest.at {
			oldest = k
		}
	}
	if owned >= earlyOfLeg {
		return own
	}
	return oldest
}

// fragment is where in its message a record of a handshake begins (RFC 6347 §4.2.2: fragment_offset).
func fragment(record []byte) [3]byte {
	if len(record) < 22 {
		return [3]byte{}
	}
	return [3]byte(record[19:22])
}

// recall judges what came for a leg before signalling had said who its peer is, in the order in which it came.
func (e *Engine) recall(now int64, i int) {
	t := &e.early[e.share.Worker(i)]
	if t.latest == 0 || now-t.latest > earlyFor {
		return
	}
	for {
		var first *earlyRecord
		var standing Standing
		for n := range t.kept {
			k := &t.kept[n]
			if k.at == 0 || k.leg != int32(i) || now-k.at > earlyFor || first != nil && k.at >= first.at {
				continue
			}
			if s, why := e.mayShake(now, i, k.from, nil); why == Accepted {
				first, standing = k, s
			}
		}
		if first == nil {
			return
		}
		first.at = 0
		e.keying.Take(int32(i), e.legs[i].generation, first.from.AddrPort(), standing, first.record)
	}
}
