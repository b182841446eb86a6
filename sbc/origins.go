package sbc

import (
	"slices"
	"strings"
)

// originWelcome reports whether pages of a web site may open a WebSocket, by the configuration in force.
func (s *SBC) originWelcome(origin string) bool {
	list := s.snap.Load().Phones.Origins
	return len(list) == 0 || slices.Contains(list, strings.ToLower(origin))
}
