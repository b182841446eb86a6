package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

var (
	inProcess = regexp.MustCompile(`back end (?:steer|epoll) in process (\d+)`)
	hasCalls  = regexp.MustCompile(`media process \d+ has the calls`)
)

// eventually waits for something that is to come.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for range 1500 {
		if is() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s: it never came", what)
}

// The program's media is in a process of its own: killed, another one has its calls; and it does not outlive a program
// without calls.
func TestMediaProcess(t *testing.T) {
	d := startDaemon(t, "")
	var pid int
	eventually(t, "the start-up line", func() bool {
		found := inProcess.FindStringSubmatch(d.log.String())
		if found != nil {
			pid, _ = strconv.Atoi(found[1])
		}
		return found != nil
	})
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another media process", func() bool { return hasCalls.MatchString(d.log.String()) })
	if !strings.Contains(d.log.String(), "is lost: audio stops") {
		t.Error("the loss is not in the log")
	}
	_ = d.cmd.Process.Kill() // no goodbye
	eventually(t, "the end of the media process", func() bool {
		_, err := os.Stat(filepath.Join(d.dir, "s.media"))
		return os.IsNotExist(err)
	})
}

func TestMediaSocketPlaces(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		places []string
		want   string
	}{
		{[]string{dir + "/sbc.sock"}, dir + "/media.sock"},
		{[]string{dir + "/new/sbc.sock"}, dir + "/new/media.sock"},
		{[]string{dir + "/other"}, dir + "/other.media"},
		{[]string{file + "/sbc.sock", dir + "/sbc.sock"}, dir + "/media.sock"},
	} {
		if socket, _, err := mediaSocket(c.places); err != nil || socket != c.want {
			t.Errorf("%v: %s, %v", c.places, socket, err)
		}
	}
	if _, _, err := mediaSocket([]string{file + "/sbc.sock"}); err == nil || !strings.Contains(err.Error(), "hint") {
		t.Errorf("no place: %v", err)
	}
}
