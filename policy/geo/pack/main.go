// Command pack makes one compact country database out of files in any format that policy/geo reads: for `make geo`, of the
// two files of Debian's tor-geoipdb, one for each IP version. Beside it, it writes the licence of the data.
//
//	go run ./policy/geo/pack -o bin/countries.geo -licence copyright geoip geoip6
//
// It fetches nothing and leaves nothing behind where it fails.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sallyport/policy/geo"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("pack", flag.ContinueOnError)
	target := flags.String("o", "countries.geo", "the file to write; the licence is written beside it as NAME.LICENCE")
	licence := flags.String("licence", "", "a file with the licence of the data, beside what the data say themselves")
	source := flags.String("source", "", "what the data are called, where they do not say")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() == 0 {
		return fmt.Errorf("name the files to pack, such as geoip and geoip6 of tor-geoipdb")
	}
	d, err := read(flags.Args())
	if err != nil {
		return err
	}
	terms := d.Licence()
	if *licence != "" {
		text, err := os.ReadFile(*licence)
		if err != nil {
			return err
		}
		terms = strings.TrimSpace(terms + "\n\n" + string(text))
	}
	d = d.Describe(*source, terms, time.Time{})
	var packed bytes.Buffer
	if err := d.Write(&packed); err != nil {
		return err
	}
	if err := replace(*target, packed.Bytes()); err != nil {
		return err
	}
	if err := replace(*target+".LICENCE", []byte(d.Licence()+"\n")); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s: %d ranges, %d KiB, built %s, %s\n", *target, d.Len(), packed.Len()>>10, day(d.Built()), d.Source())
	return nil
}

// read reads text files as one, so that the IP versions may lie apart; a single file may be of any format.
func read(names []string) (*geo.Database, error) {
	var all []io.Reader
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		all = append(all, f, strings.NewReader("\n"))
	}
	return geo.Read(io.MultiReader(all[:len(all)-1]...), filepath.Base(names[0]))
}

// replace writes a file whole or not at all.
func replace(name string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(name+".new", data, 0o644); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

func day(t time.Time) string {
	if t.IsZero() {
		return "at an unknown time"
	}
	return t.Format(time.DateOnly)
}
