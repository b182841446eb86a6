// Package metrics shows the program to a monitoring system: figures in the format of Prometheus, and whether it lives and is
// ready.
//
// Nothing is counted here while messages and packets pass, calls apart: each ends with its record, from which a Tally counts. All
// other figures are asked of the program when somebody scrapes, in one go, and written down as constants; between two scrapes
// this room costs nothing. Names, types and labels stand in one list (families), from which docs/metrics.md is checked.
//
// No label is of a stranger's making: there is none with a source, a number or an address-of-record. What labels there are
// come from closed lists or from the configuration, and a family that grows beyond its bound is cut and says so.
//
// The server is for reading alone. It takes GET and HEAD, no body, and few connections; it has no profiler and shows no
// configuration.
package metrics
