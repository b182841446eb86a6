package cdr

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// Config says where records go and how long they stay.
type Config struct {
	Directory string        // absolute; made if missing
	Format    string        // JSONL or CSV
	Rotate    time.Duration // a new file at each multiple of it (UTC); 0: never by time
	Keep      time.Duration // files whose last record is older are removed; 0: never by age
	MaxSize   int64         // bytes of all files together, the oldest go first; 0: no bound
}

// smallestSize makes a file, an eighth of it, larger than one write.
const smallestSize = 4 << 20

// Validate names every setting that cannot work.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !filepath.IsAbs(c.Directory) {
		bad("directory %q: give an absolute path, such as /var/log/sbc", c.Directory)
	}
	if _, known := encoders[c.Format]; !known {
		bad("format %q: write jsonl or csv", c.Format)
	}
	if c.Rotate < 0 || c.Rotate > 0 && c.Rotate < time.Minute {
		bad("rotate %v: give at least 1m, or 0 for no rotation by time", c.Rotate)
	}
	if c.Keep < 0 || c.Keep > 0 && c.Keep < c.Rotate {
		bad("keep %v: give at least rotate (%v), or 0 to keep all files", c.Keep, c.Rotate)
	}
	if c.MaxSize < 0 || c.MaxSize > 0 && c.MaxSize < smallestSize {
		bad("max_size %d: give at least 4MiB, or 0 for no bound", c.MaxSize)
	}
	return errors.Join(errs...)
}
