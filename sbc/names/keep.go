package names

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"go.uber.org/zap"

	"sallyport/nat"
	"sallyport/sbc/resolve"
)

// answersMost bounds the file of last good answers, in bytes.
const answersMost = 8 << 20

// load reads the last good answers of the run before; none is no error.
func load(path string) (map[string]resolve.Kept, error) {
	if path == "" {
		return nil, nil
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case info.Size() > answersMost:
		return nil, fmt.Errorf("%s is larger than %d MiB\n  hint: delete it", path, answersMost>>20)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	list, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n  hint: delete it, the names are asked for anew", path, err)
	}
	return list, nil
}

// parse reads what write has written. An endpoint of a transport that this program does not look up, as a later one may, is left out;
// what else is no answer the watcher leaves out.
func parse(data []byte) (list map[string]resolve.Kept, err error) {
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, err
	}
	for key, k := range list {
		k.Endpoints = slices.DeleteFunc(k.Endpoints, func(e resolve.Endpoint) bool { return e.Transport > nat.TLS })
		list[key] = k
	}
	return list, nil
}

// Save writes the last good answers where they have changed: a start without a name server goes on with them. What cannot be written
// is told to the log and tried again the next time.
func (b *Book) Save() {
	if b.file == "" || !b.dirty.Swap(false) {
		return
	}
	if err := b.write(); err != nil {
		b.dirty.Store(true)
		b.log.Warn("names: their answers cannot be kept for the next start", zap.Error(err))
	}
}

// write writes aside and renames: a power failure leaves the whole file or the one before.
func (b *Book) write() error {
	data, err := json.Marshal(b.watcher.Kept())
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(b.file), ".answers.*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o600), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), b.file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
