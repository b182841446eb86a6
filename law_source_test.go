package sallyport_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// The lengths beyond which a file or a function is no longer read in one go. The aim is 350 and 40.
const (
	maxFileLines     = 450
	maxFunctionLines = 60
)

// source is one parsed Go file of the checkout, build tags or not.
type source struct {
	path string // relative to the root
	room string
	test bool
	text []byte
	file *ast.File
	fset *token.FileSet
}

func (s source) at(p token.Pos) string {
	return s.path + ":" + strconv.Itoa(s.fset.Position(p).Line)
}

// lines is the number of lines that a node covers.
func (s source) lines(n ast.Node) int {
	return s.fset.Position(n.End()).Line - s.fset.Position(n.Pos()).Line + 1
}

// walk calls visit for every regular file of the checkout; what a build or a tool leaves is not part of it.
func walk(visit func(path string) error) error {
	return filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (path == ".git" || path == "bin" || d.Name() == "node_modules"):
			return filepath.SkipDir
		case !d.Type().IsRegular():
			return nil
		}
		return visit(path)
	})
}

var sources = sync.OnceValues(func() ([]source, error) {
	var list []source
	fset := token.NewFileSet()
	err := walk(func(path string) error {
		if filepath.Ext(path) != ".go" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(fset, path, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir := strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), ".")
		list = append(list, source{path, dir, strings.HasSuffix(path, "_test.go"), text, file, fset})
		return nil
	})
	return list, err
})

func listSources(t *testing.T) []source {
	t.Helper()
	list, err := sources()
	if err != nil {
		t.Fatalf("reading the sources: %v", err)
	}
	return list
}

func TestFilesAndFunctionsStayReadable(t *testing.T) {
	for _, s := range listSources(t) {
		if n := bytes.Count(s.text, []byte("\n")); n > maxFileLines {
			t.Errorf("%s has %d lines. Size law: at most %d, so that a file is read whole; split it by phase or direction",
				s.path, n, maxFileLines)
		}
		if s.test {
			continue // a table of cases is as long as it has to be
		}
		for _, decl := range s.file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && s.lines(f) > maxFunctionLines {
				t.Errorf("%s: %s has %d lines. Size law: at most %d, so that its branches fit in one head; name its steps",
					s.at(f.Pos()), f.Name.Name, s.lines(f), maxFunctionLines)
			}
		}
	}
}

// impure are the imports that a pure room does without.
var impure = map[string]string{
	"math/rand":       "a random source: ids are handed in, so that a golden file replays",
	"math/rand/v2":    "a random source: ids are handed in, so that a golden file replays",
	"crypto/rand":     "a random source: ids are handed in, so that a golden file replays",
	"hash/maphash":    "a random seed: the same events must give the same actions",
	"log":             "a logger: a pure room returns what is to be said",
	"log/slog":        "a logger: a pure room returns what is to be said",
	"go.uber.org/zap": "a logger: a pure room returns what is to be said",
	"net":             "sockets and the resolver: a pure room asks for them by an Action (net/netip is fine)",
	"net/http":        "sockets: a pure room asks for them by an Action",
	"syscall":         "system calls: whatever touches the machine stands at the edge",
	"os":              "files and the environment: whatever touches the machine stands at the edge",
	"os/exec":         "processes: whatever touches the machine stands at the edge",
}

// excused are the exceptions: the configuration is a file, and the parser's own logger can only be silenced with a logger.
var excused = []string{"sbc/config os", "sbc/message log/slog"}

// clock are the functions of package time that read or wait for the wall clock.
var clock = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

func TestPureRoomsArePure(t *testing.T) {
	for _, s := range listSources(t) {
		if s.test || !house[s.room].pure {
			continue
		}
		for _, imp := range s.file.Imports {
			path, _ := strconv.Unquote(imp.Path.Value)
			if why, bad := impure[path]; bad && !slices.Contains(excused, s.room+" "+path) {
				t.Errorf("%s: %s is a pure room and imports %s, %s", s.at(imp.Pos()), s.room, path, why)
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s: %s is a pure room and starts a goroutine; order is total only while one goroutine steps it", s.at(n.Pos()), s.room)
			case *ast.SelectorExpr:
				pkg, ok := n.X.(*ast.Ident)
				switch {
				case ok && pkg.Name == "slog" && n.Sel.Name != "New" && n.Sel.Name != "DiscardHandler":
					t.Errorf("%s: %s is a pure room and uses slog.%s; only the discarding handler is excused", s.at(n.Pos()), s.room, n.Sel.Name)
				case ok && pkg.Name == "time" && slices.Contains(clock, n.Sel.Name):
					t.Errorf("%s: %s is a pure room and uses time.%s; now is handed in, so that 64·T1 passes in microseconds in a test",
						s.at(n.Pos()), s.room, n.Sel.Name)
				}
			}
			return true
		})
	}
}

// TestRoomsAloneHaveNoRaces: what make test does not run under the race detector starts nothing that would run beside it.
func TestRoomsAloneHaveNoRaces(t *testing.T) {
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(strings.ReplaceAll(string(makefile), "\\\n", " "), "\nALONE ")
	line, _, _ := strings.Cut(rest, "\n")
	rooms := strings.Fields(strings.TrimLeft(line, " ="))
	if len(rooms) == 0 {
		t.Fatal("the Makefile names no room")
	}
	for _, name := range rooms {
		if _, known := house[name]; !known {
			t.Errorf("the Makefile leaves out %s, which is no room", name)
		}
	}
	for _, s := range listSources(t) {
		if !slices.Contains(rooms, s.room) {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			beside := false
			switch n := n.(type) {
			case *ast.GoStmt:
				beside = true
			case *ast.CallExpr:
				f, is := n.Fun.(*ast.SelectorExpr)
				beside = is && slices.Contains([]string{"Go", "Parallel", "RunParallel", "AfterFunc"}, f.Sel.Name)
			}
			if beside {
				t.Errorf("%s: %s starts what runs beside it; take the room out of ALONE in the Makefile", s.at(n.Pos()), s.room)
			}
			return true
		})
	}
}

// obvious are methods whose whole meaning is the interface they satisfy.
var obvious = []string{"Error", "String", "Unwrap"}

func TestExportedNamesAreDocumented(t *testing.T) {
	for _, s := range listSources(t) {
		if s.test {
			continue
		}
		for _, decl := range s.file.Decls {
			for _, name := range undocumented(decl) {
				t.Errorf("%s: exported %s has no comment. Documentation law: shapes, units, errors and source (RFC section) stand "+
					"where the name is declared", s.at(decl.Pos()), name)
			}
		}
	}
}

// undocumented lists the exported names that decl declares without a comment.
func undocumented(decl ast.Decl) (names []string) {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Doc == nil && d.Name.IsExported() && exportedReceiver(d) && (d.Recv == nil || !slices.Contains(obvious, d.Name.Name)) {
			names = append(names, d.Name.Name)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch sp := spec.(type) {
			case *ast.TypeSpec:
				if sp.Name.IsExported() && d.Doc == nil && sp.Doc == nil && sp.Comment == nil {
					names = append(names, sp.Name.Name)
				}
			case *ast.ValueSpec:
				if d.Doc != nil || sp.Doc != nil || sp.Comment != nil {
					continue
				}
				for _, id := range sp.Names {
					if id.IsExported() {
						names = append(names, id.Name)
					}
				}
			}
		}
	}
	return names
}

// exportedReceiver reports whether f is no method, or one of an exported type.
func exportedReceiver(f *ast.FuncDecl) bool {
	if f.Recv == nil {
		return true
	}
	typ := f.Recv.List[0].Type
	for {
		switch x := typ.(type) {
		case *ast.StarExpr:
			typ = x.X
		case *ast.IndexExpr:
			typ = x.X
		case *ast.IndexListExpr:
			typ = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return true
		}
	}
}

// private matches an absolute path of one developer's machine.
var private = regexp.MustCompile(`(^|[\s"'` + "`" + `(=:])/(work|root|home/[a-z]+)/`)

func TestNoPathOfOneMachine(t *testing.T) {
	text := []string{".go", ".md", ".sh", ".xml", ".yaml", ".yml", ".cfg", ".txt", ".mod", ".service", ""}
	err := walk(func(path string) error {
		if !slices.Contains(text, filepath.Ext(path)) {
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for i, line := range strings.Split(string(content), "\n") {
			if m := private.FindString(line); m != "" {
				t.Errorf("%s:%d names %q. Path law: a clone anywhere must work and read the same; use a relative path", path, i+1, strings.TrimSpace(m))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// page matches a page that a comment sends its reader to: a file, or a section of a document by its name in capitals.
var page = regexp.MustCompile(`([\w./-]+\.md)\b|\b([A-Z]{5,})(?:\.md)? §`)

func TestPagesThatCommentsNameAreHere(t *testing.T) {
	for _, s := range listSources(t) {
		for _, group := range s.file.Comments {
			for _, c := range group.List {
				for _, m := range page.FindAllStringSubmatch(c.Text, -1) {
					name := m[1]
					if name == "" {
						name = "docs/" + m[2] + ".md"
					}
					if _, err := os.Stat(name); err != nil {
						t.Errorf("%s sends its reader to %q. Page law: what a comment names is in the checkout; say it, or name a page "+
							"under docs by its path", s.at(c.Pos()), strings.TrimSuffix(m[0], " §"))
					}
				}
			}
		}
	}
}
