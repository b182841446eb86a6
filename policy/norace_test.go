//go:build !race

package policy

import "testing"

const raceDetector = false

func alone(*testing.T) {}
