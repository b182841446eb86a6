//go:build race

package media

// raced: the detector makes pools forget, so that allocations cannot be counted.
const raced = true
