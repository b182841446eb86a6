// Package cdr writes call detail records: one JSON object a line, one line a call, in files that are rotated by time
// and removed by age and total size.
//
// Write never blocks and touches no file: a bounded queue leads to one goroutine. While the disk refuses (full, read
// only, gone), records wait in that queue, the administrator is warned once a minute, and all is written once the disk
// recovers; only what no longer fits the queue is lost, and counted. A line is written whole or not at all.
//
// Every text is foreign: it is cut to 256 bytes, quoted as JSON, and stripped of what steers a terminal.
//
// The room knows what a record looks like, not what it means. Billing is somebody else's work.
package cdr
