package main

import (
	"fmt"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"sallyport/sbc/config"
)

// newLog makes the program's log: fixed keys, equal lines sampled. Its level can be changed while it runs.
func newLog(c config.Log) (*zap.Logger, *zap.AtomicLevel, error) {
	level, err := zapcore.ParseLevel(c.Level)
	if err != nil {
		return nil, nil, fmt.Errorf("log.level %q: %w\n  hint: write debug, info, warn or error", c.Level, err)
	}
	z := logConfig(c.Format, "stderr")
	z.Level = zap.NewAtomicLevelAt(level)
	log, err := z.Build()
	return log, &z.Level, err
}

// newSecurityLog makes the log of security lines in a file of its own; nil if none is asked for.
func newSecurityLog(c config.Log) (*zap.Logger, error) {
	if c.SecurityFile == "" {
		return nil, nil
	}
	z := logConfig(c.Format, c.SecurityFile)
	z.Sampling = nil // policy.log bounds it
	log, err := z.Build()
	if err != nil {
		return nil, fmt.Errorf("log.security_file: %w\n  hint: its directory must exist and be writable for the user that runs sbc", err)
	}
	return log, nil
}

func logConfig(format, path string) zap.Config {
	z := zap.NewProductionConfig()
	z.DisableCaller, z.DisableStacktrace = true, true
	z.EncoderConfig.TimeKey = "ts"
	z.EncoderConfig.EncodeTime = zapcore.ISO8601TimeEncoder
	z.OutputPaths, z.ErrorOutputPaths = []string{path}, []string{"stderr"}
	if format == "console" {
		z.Encoding = "console"
	}
	return z
}
