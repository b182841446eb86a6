package sbc

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"go.uber.org/zap"

	"sallyport/sbc/resolve"
)

// answersMost bounds the file of last good answers, in bytes.
const answersMost = 8 << 20

// loadAnswers reads the last good answers of the run before; none is no error.
func loadAnswers(path string) (map[string]resolve.Kept, error) {
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
	var list map[string]resolve.Kept
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("%s: %w\n  hint: delete it, the names are asked for anew", path, err)
	}
	return list, nil
}

// save writes the last good answers where they have changed: a start without a name server goes on with them.
func (n *naming) save() {
	if n.file == "" || !n.dirty.Swap(false) {
		return
	}
	if err := n.write(); err != nil {
		n.dirty.Store(true)
		n.log.Warn("names: their answers cannot be kept for the next start", zap.Error(err))
	}
}

// write writes aside and renames: a power failure leaves the whole file or the one before.
func (n *naming) write() error {
	data, err := json.Marshal(n.watcher.Kept())
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(n.file), ".answers.*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o600), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), n.file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
