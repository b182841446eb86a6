package sbc

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"go.uber.org/zap"

	"sallyport/nat"
	"sallyport/sbc/registrar"
	"sallyport/sbc/store"
	"sallyport/sbc/trunk"
	"sallyport/sbc/tu"
)

// State keeps what outlives the program: the bindings of phones, or the bans. Its methods may wait for a disk; they are called
// away from the core.
type State interface {
	// Load yields all that was kept.
	Load(func(key string, value []byte)) error
	// Put keeps values, and forgets those that are nil, all at once.
	Put(map[string][]byte) error
	Close() error
}

// OpenState opens what a directory keeps: the bindings, and the key of the names by which the PBX knows the phones. A
// new directory gets a new key.
func OpenState(dir string) (State, [16]byte, error) {
	key, err := nameKey(filepath.Join(dir, "names.key"))
	if err != nil {
		return nil, key, err
	}
	s, err := store.Open(filepath.Join(dir, "bindings.db"), "phones are then unreachable until they register again")
	if err != nil {
		return nil, key, err
	}
	return s, key, nil
}

// OpenBans opens the bans that a directory keeps.
func OpenBans(dir string) (State, error) {
	s, err := store.Open(filepath.Join(dir, "bans.db"), "nobody is banned then")
	if err != nil {
		return nil, err
	}
	return s, nil
}

func nameKey(path string) (key [16]byte, err error) {
	b, err := os.ReadFile(path)
	switch {
	case err == nil && len(b) == len(key):
		return [16]byte(b), nil
	case err == nil:
		return key, fmt.Errorf("%s: %d bytes instead of %d\n  hint: restore it from a backup; without it, delete it: phones are then unreachable until they register again", path, len(b), len(key))
	case !errors.Is(err, fs.ErrNotExist):
		return key, fmt.Errorf("the key of the phones' names: %w\n  hint: it must belong to the user that runs sbc, mode 0600", err)
	}
	_, _ = rand.Read(key[:]) // it never fails (crypto/rand)
	// Written aside and renamed: a power failure leaves the whole key or none.
	f, err := os.CreateTemp(filepath.Dir(path), ".names.*")
	if err != nil {
		return key, fmt.Errorf("the key of the phones' names: %w", err)
	}
	_, err = f.Write(key[:])
	err = errors.Join(err, f.Chmod(0o600), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return key, errors.Join(fmt.Errorf("the key of the phones' names: %w", err), os.Remove(f.Name()))
	}
	return key, nil
}

// keeping notes what becomes of bindings, to be put down behind the core's back.
type keeping struct {
	*journal

	face nat.Interface // that of the last binding, and its name: of the core's turn
	name string
}

// note takes a change of a binding. It runs in the core's turn.
func (k *keeping) note(w *world, before, after *registrar.Binding) {
	var value []byte
	token := ""
	if after == nil {
		token = before.Token
	} else {
		token, value = after.Token, encodeBinding(k.nameOf(w.interfaces[after.Flow.Interface]), after)
	}
	k.put(token, value, before == nil || after == nil || before.Flow != after.Flow || before.Lost != after.Lost)
}

// nameOf is the name of an interface; that of none is empty.
func (k *keeping) nameOf(i *nat.Interface) string {
	if i == nil {
		return ""
	}
	if *i != k.face {
		k.face, k.name = *i, i.String()
	}
	return k.name
}

// encodeBinding puts the name of the interface in front: its number is this run's.
func encodeBinding(name string, b *registrar.Binding) []byte {
	out := make([]byte, 0, 512)
	out, err := b.AppendBinary(append(binary.AppendUvarint(out, uint64(len(name))), name...))
	if err != nil {
		return nil
	}
	return out
}

// decodeBinding reads what encodeBinding wrote; false: nobody listens there any more, or it cannot be read.
func decodeBinding(faces []nat.Interface, value []byte) (b registrar.Binding, ok bool) {
	n, used := binary.Uvarint(value)
	if used <= 0 || n > uint64(len(value)-used) {
		return b, false
	}
	name, raw := string(value[used:used+int(n)]), value[used+int(n):]
	if b.UnmarshalBinary(raw) != nil {
		return b, false
	}
	for i := range faces {
		if faces[i].String() == name {
			b.Flow.Interface = faces[i].ID
			b.Flow.Conn = 0
			b.Lost = b.Flow.Transport.Reliable() // no connection outlives the program that held it
			return b, true
		}
	}
	return b, false
}

// nodeID is the name in health of a node that an earlier program named by its address alone, whatever it was reached by.
func (w *world) nodeID(kept string) string {
	other := kept
	for i := range w.systems {
		if w.systems[i].Kind != tu.KindNode {
			continue
		}
		for j := range w.systems[i].Hops {
			switch h := &w.systems[i].Hops[j]; kept {
			case h.ID:
				return kept
			case trunk.HopID(pbxName, h.Flow.Remote, nat.UDP):
				other = h.ID
			}
		}
	}
	return other
}

// restore brings the bindings of the run before back, alive at once.
func (s *SBC) restore(w *world) error {
	if s.opt.State == nil {
		return nil
	}
	var list []registrar.Binding
	gone := map[string][]byte{} // what was kept and is of no use any more: forgotten with the first batch
	err := s.opt.State.Load(func(key string, value []byte) {
		gone[key] = nil
		if b, ok := decodeBinding(w.snap.Interfaces, value); ok && b.Token == key {
			b.Node = w.nodeID(b.Node)
			list = append(list, b)
		}
	})
	if err != nil {
		return fmt.Errorf("registrations: %w", err)
	}
	p := s.assembly.phones
	p.book.Restore(list, s.now())
	all := len(gone)
	for b := range p.book.All {
		s.guard.AddPhone(b.Flow.Remote.Addr())
		delete(gone, b.Token)
	}
	p.kept = &keeping{journal: newJournal(s.opt.State, gone, 2*bindingsMost, func(err error) {
		if err != nil {
			s.log.Error("registrations cannot be kept: after a restart phones are unreachable until they register again", zap.Error(err))
		} else {
			s.log.Info("registrations are kept again")
		}
	})}
	if all > 0 {
		s.log.Info(fmt.Sprintf("%d registrations kept from before, %d expired or of listeners that are gone", p.book.Len(), len(gone)))
	}
	return nil
}
