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
	for _, row := range []any{leg{}, rule{}, hopefuls{}, listing{}, cell{}, head{}, Command{}, continuity{}} {
		if !plain(reflect.TypeOf(row)) {
			t.Errorf("%T holds pointers", row)
		}
	}
	if size := reflect.TypeFor[cell]().Size(); size%64 != 0 {
		t.Errorf("a cell has %d bytes", size)
	}
	if size := reflect.TypeFor[head]().Size(); size%cacheLine != 0 {
		t.Errorf("the head has %d bytes", size)
	}
	if NumRejections > maxRejections {
		t.Errorf("%d rejections, the shared table has room for %d: raise BoardVersion with it", NumRejections, maxRejections)
	}
	if size := reflect.TypeFor[leg]().Size(); size > 128 {
		t.Errorf("a leg has %d bytes", size)
	}
	t.Logf("leg %d, rule %d, cell %d, command %d bytes", reflect.TypeFor[leg]().Size(), reflect.TypeFor[rule]().Size(),
		reflect.TypeFor[cell]().Size(), reflect.TypeFor[Command]().Size())
}
