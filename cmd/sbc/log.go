package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"sallyport/sbc/config"
)

// Equal lines of the program's log are sampled: the first ones of a second, then one in so many.
const (
	sampleFirst = 100
	sampleThen  = 100
)

// newLog makes the program's log: fixed keys, equal lines sampled, never waiting for its reader. Its level can be changed
// while it runs. Sync it before the program ends.
func newLog(c config.Log) (*zap.Logger, *zap.AtomicLevel, error) {
	l, err := zapcore.ParseLevel(c.Level)
	if err != nil {
		return nil, nil, fmt.Errorf("log.level %q: %w\n  hint: write debug, info, warn or error", c.Level, err)
	}
	level := zap.NewAtomicLevelAt(l)
	out := ringed(os.Stderr, c.Format)
	core := zapcore.NewSamplerWithOptions(zapcore.NewCore(newEncoder(c.Format), out, level), time.Second, sampleFirst, sampleThen)
	return zap.New(core, zap.ErrorOutput(out)), &level, nil
}

// ringed puts a ring in front of a writer. What it lost it tells in the log's own format.
func ringed(to io.Writer, format string) *asyncWriter {
	encoder := newEncoder(format)
	return newAsyncWriter(to, logRing, func(lost int) []byte {
		line, err := encoder.EncodeEntry(zapcore.Entry{
			Level: zapcore.WarnLevel, Time: time.Now(), Message: fmt.Sprintf("%d log lines are lost here: they came faster than they were read", lost),
		}, nil)
		if err != nil {
			return fmt.Appendf(nil, "%d log lines are lost here\n", lost)
		}
		defer line.Free()
		return append([]byte(nil), line.Bytes()...)
	})
}

// newSecurityLog makes the log of security lines in a file of its own; nil if none is asked for. Readers of sockets write
// it, so it waits for no disk. reopen lets it go on in a new file after somebody has moved the old one away.
func newSecurityLog(c config.Log) (log *zap.Logger, reopen func(*zap.Logger), err error) {
	if c.SecurityFile == "" {
		return nil, func(*zap.Logger) {}, nil
	}
	file, err := openCapped(c.SecurityFile, c.SecuritySize)
	if err != nil {
		return nil, nil, fmt.Errorf("log.security_file: %w\n  hint: its directory must exist and be writable for the user that runs sbc", err)
	}
	out := ringed(file, c.Format)
	log = zap.New(zapcore.NewCore(newEncoder(c.Format), out, zapcore.InfoLevel), zap.ErrorOutput(out)) // policy.log bounds it
	return log, func(tell *zap.Logger) {
		_ = log.Sync() // what belongs into the old one
		if err := file.Reopen(); err != nil {
			tell.Error("log.security_file: its lines are lost until it can be opened again", zap.Error(err))
		}
	}, nil
}

// flusher writes what the logs still hold; nil logs hold nothing.
func flusher(logs ...*zap.Logger) func() {
	return func() {
		for _, l := range logs {
			if l != nil {
				_ = l.Sync() // who does not read his log does not hear of that either
			}
		}
	}
}

// newEncoder writes an entry in a format: console, or JSON.
func newEncoder(format string) zapcore.Encoder {
	c := zap.NewProductionEncoderConfig()
	c.TimeKey, c.EncodeTime = "ts", zapcore.ISO8601TimeEncoder
	if format == "console" {
		return zapcore.NewConsoleEncoder(c)
	}
	return zapcore.NewJSONEncoder(c)
}
