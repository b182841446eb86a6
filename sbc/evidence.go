package sbc

import (
	"strings"
	"time"

	"go.uber.org/zap"

	"sallyport/policy"
	"sallyport/sbc/tu"
)

// securityLine writes a line of the bounded security log.
func (s *SBC) securityLine(l policy.LogLine) {
	fields := []zap.Field{
		zap.String("side", l.Side.String()), zap.String("realm", l.Realm.String()), zap.String("reason", string(l.Reason)),
	}
	if l.Source.IsValid() {
		fields = append(fields, zap.String("src", l.Source.String()))
	}
	if l.Suppressed > 0 {
		s.tellSecurity("refused, in sum", append(fields, zap.Uint64("count", l.Suppressed)))
		return
	}
	s.tellSecurity(l.Action.String(), append(fields, zap.String("method", l.Method), zap.Int("code", l.Code),
		zap.String("rule", l.Rule), zap.String("aor", l.User), zap.String("ua", l.Agent)))
}

func (s *SBC) tellSecurity(msg string, fields []zap.Field) {
	s.log.Warn(msg, fields...)
	if s.opt.Security != nil {
		s.opt.Security.Warn(msg, fields...)
	}
}

// noteTextMost bounds what is kept of a clause, in bytes: it may name what a stranger wrote.
const noteTextMost = 200

// note keeps what a call found out about a source, for `sbc why`, and tells the log.
func (s *SBC) note(now time.Time, n tu.Note) {
	if n.Why == "" && n.Text == "" && (n.Code == 401 || n.Code == 407) {
		s.guard.Challenged(now, n.Source.Addr()) // the PBX wants credentials; the request that brings them is not charged
		return
	}
	if len(n.Text) > noteTextMost {
		n.Text = strings.ToValidUTF8(n.Text[:noteTextMost], "") + "…"
	}
	if !s.notes.add(now, n) || !s.told.AllowN(now, 1) {
		return
	}
	s.log.Warn(n.Text, zap.String("src", n.Source.String()), zap.String("side", n.Side.String()),
		zap.String("realm", n.Realm.String()), zap.String("method", n.Method), zap.Int("code", n.Code),
		zap.String("reason", string(n.Why)))
}
