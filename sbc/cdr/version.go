package cdr

// Version is that of the schema of records, in both formats. It rises with every change; what exists keeps its name, its
// meaning and, in CSV, its place.
const Version = 1

// The formats of records.
const (
	JSONL = "jsonl" // one JSON object a line
	CSV   = "csv"   // RFC 4180, with a header line in each file
)

// encoder writes records of one format.
type encoder struct {
	suffix string // of a file's name
	header []byte // the first line of a file; none: it has none
	append func(to []byte, r *Record) ([]byte, error)
	call   func(line []byte) (name string, whole bool) // the call that a line is about; the line may be cut short
}

// encoders are those of all formats, by name: files of another one than today's are ours, too.
var encoders = map[string]encoder{
	JSONL: {suffix: ".jsonl", append: appendJSON, call: callOfJSON},
	CSV:   {suffix: ".csv", header: csvHeader(), append: appendCSV, call: callOfCSV},
}
