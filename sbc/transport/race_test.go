//go:build race

package transport

// The race detector makes a pool forget at random, so that counts of allocations say nothing.
const raceDetector = true
