// Package store keeps small values over a restart: one file, written in transactions, so that a crash or a power failure
// leaves the state before or after a Put, never half of it. It knows keys and bytes, and not what they mean.
//
// It refuses to be shared: one program has the file open at a time. Its methods wait for the disk; nobody who may not wait
// calls them.
package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// Store is an open file. Its methods may be called from any goroutine.
type Store struct {
	db   *bolt.DB
	loss string
}

// version is the layout of the file, kept in it.
const version = "1"

var (
	values     = []byte("values")
	about      = []byte("about")
	versionKey = []byte("version")
)

// lockWait is how long another program may keep the file: one that is just ending.
const lockWait = 2 * time.Second

// Open opens a file, or makes it, readable by its owner alone. The error says what to do: about a file that another program
// has open, that cannot be read, or that a later release wrote. loss is what it means to be without the file: "phones are then
// unreachable until they register again".
func Open(path, loss string) (*Store, error) {
	if err := private(path); err != nil {
		return nil, err
	}
	db, err := open(path)
	if err != nil {
		return nil, explain(path, loss, err)
	}
	s := &Store{db: db, loss: loss}
	if err := s.prepare(); err != nil {
		return nil, errors.Join(explain(path, loss, err), db.Close())
	}
	return s, nil
}

// private refuses what is no file, and takes the file from others' eyes: it tells who is reached where.
func private(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("%s: %w\n  hint: the state directory must belong to the user that runs sbc", path, err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s: not a file\n  hint: move it away, a new one is made", path)
	case info.Mode().Perm()&0o077 != 0:
		if err := os.Chmod(path, 0o600); err != nil {
			return fmt.Errorf("%s: %w\n  hint: it must belong to the user that runs sbc, mode 0600", path, err)
		}
	}
	return nil
}

// open is bolt's, which panics over some broken files.
func open(path string) (db *bolt.DB, err error) {
	defer damage(&err)()
	return bolt.Open(path, 0o600, &bolt.Options{Timeout: lockWait})
}

// errLater marks the file of another release.
var errLater = errors.New("it was written by another release")

// prepare checks the version of the file, or gives a new one its own.
func (s *Store) prepare() (err error) {
	defer damage(&err)()
	return s.db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(about)
		if err != nil {
			return err
		}
		switch v := b.Get(versionKey); {
		case v == nil:
			if err := b.Put(versionKey, []byte(version)); err != nil {
				return err
			}
		case string(v) != version:
			return fmt.Errorf("%w (layout %q, this one is %q)", errLater, v, version)
		}
		_, err = tx.CreateBucketIfNotExists(values)
		return err
	})
}

// explain says what to do about an error of opening.
func explain(path, loss string, err error) error {
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return fmt.Errorf("%s: another program has it open\n  hint: is another sbc running with this state directory? give each its own", path)
	case errors.Is(err, errLater):
		return fmt.Errorf("%s: %w\n  hint: run that release, or move the file away: %s", path, err, loss)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: %w\n  hint: it must belong to the user that runs sbc, mode 0600", path, err)
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		return fmt.Errorf("%s: it is damaged or no store (%w)\n  hint: move it away: %s", path, err, loss)
	}
	return fmt.Errorf("%s: %w\n  hint: if it does not go away, move the file away: %s", path, err, loss)
}

// Load yields every key with its value, in order of keys. The value is good within the call only.
func (s *Store) Load(each func(key string, value []byte)) (err error) {
	defer s.explain(&err)
	defer damage(&err)()
	return s.db.View(func(tx *bolt.Tx) error {
		return tx.Bucket(values).ForEach(func(k, v []byte) error {
			each(string(k), v)
			return nil
		})
	})
}

// Put keeps values under their keys and forgets those that are nil: all of it or, with an error, nothing.
func (s *Store) Put(batch map[string][]byte) (err error) {
	defer s.explain(&err)
	defer damage(&err)()
	return s.db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket(values)
		for k, v := range batch {
			var err error
			if v == nil {
				err = b.Delete([]byte(k))
			} else {
				err = b.Put([]byte(k), v)
			}
			if err != nil {
				return fmt.Errorf("key %q: %w", k, err)
			}
		}
		return nil
	})
}

// damage makes an error of what bolt does over a file that is damaged within: it panics, or, since it reads the file as
// memory, faults where the file is too short.
func damage(err *error) (end func()) {
	before := debug.SetPanicOnFault(true)
	return func() {
		if r := recover(); r != nil {
			*err = fmt.Errorf("%w: %v", berrors.ErrInvalid, r)
		}
		debug.SetPanicOnFault(before)
	}
}

// explain adds to an error over a damaged file what to do.
func (s *Store) explain(err *error) {
	if errors.Is(*err, berrors.ErrInvalid) {
		*err = explain(s.db.Path(), s.loss, *err)
	}
}

// Close gives the file back.
func (s *Store) Close() error { return s.db.Close() }
