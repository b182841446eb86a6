package media

import (
	"reflect"
	"testing"
)

// The tables hold no pointer, so that the collector never looks into them, and their rows fill whole cache lines.
func TestTablesArePlain(t *testing.T) {
	var plain func(t reflect.Type) bool
	plain = func(typ reflect.Type) bool {
		switch typ.Kind() {
		case reflect.Struct:
			for i := range typ.NumField() {
				if !plain(typ.Field(i).Type) {
					return false
				}
			}
			return true
		case reflect.Array:
			return plain(typ.Elem())
		case reflect.Pointer, reflect.Slice, reflect.Map, reflect.String, reflect.Interface, reflect.Chan, reflect.Func:
			return false
		}
		return true
	}
	for _, row := range []any{leg{}, reception{}, rule{}, hopefuls{}, listing{}, cell{}, annex{}, refusals{}, digits{}, head{}, Command{}, continuity{}} {
		if !plain(reflect.TypeOf(row)) {
			t.Errorf("%T holds pointers", row)
		}
	}
	for row, lines := range map[reflect.Type]uintptr{
		reflect.TypeFor[leg](): 1, reflect.TypeFor[reception](): 1, reflect.TypeFor[cell](): 2, reflect.TypeFor[annex](): 1, reflect.TypeFor[refusals](): 1, reflect.TypeFor[digits](): 1,
	} {
		if row.Size() != lines*cacheLine {
			t.Errorf("a %s has %d bytes, want %d", row.Name(), row.Size(), lines*cacheLine)
		}
	}
	if size := reflect.TypeFor[head]().Size(); size%cacheLine != 0 {
		t.Errorf("the head has %d bytes", size)
	}
	if NumRejections > maxRejections {
		t.Errorf("%d rejections, the shared table has room for %d: raise BoardVersion with it", NumRejections, maxRejections)
	}
	call := 2 * (2*reflect.TypeFor[leg]().Size() + reflect.TypeFor[reception]().Size() + reflect.TypeFor[rule]().Size() + reflect.TypeFor[cell]().Size())
	if call > 800 {
		t.Errorf("a plain call takes %d bytes of the tables", call)
	}
	t.Logf("a plain call takes %d bytes of the tables", call)
}
