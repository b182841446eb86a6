package main

import (
	"fmt"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"sallyport/sbc/config"
)

// newLog makes the program's log: fixed keys, bounded by sampling equal lines.
func newLog(c config.Log) (*zap.Logger, error) {
	level, err := zapcore.ParseLevel(c.Level)
	if err != nil {
		return nil, fmt.Errorf("log.level %q: %w\n  hint: write debug, info, warn or error", c.Level, err)
	}
	z := zap.NewProductionConfig()
	z.Level = zap.NewAtomicLevelAt(level)
	z.DisableCaller, z.DisableStacktrace = true, true
	z.EncoderConfig.TimeKey = "ts"
	z.EncoderConfig.EncodeTime = zapcore.ISO8601TimeEncoder
	z.OutputPaths, z.ErrorOutputPaths = []string{"stderr"}, []string{"stderr"}
	if c.Format == "text" || c.Format == "console" {
		z.Encoding = "console"
	}
	return z.Build()
}
