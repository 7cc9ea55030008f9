// Embeds Gasworks in Go, by cgo: CGO_CFLAGS=$(pkg-config --cflags gasworks) CGO_LDFLAGS=$(pkg-config --libs gasworks) go run hello.go
package main

// #include <gasworks.h>
// static const char *message(const struct gw_error *err) { return err->message; }
// static void put(union gw_value *v, int32_t x) { v->i32 = x; }
// static int32_t get(const union gw_value *v) { return v->i32; }
import "C"

import (
	"fmt"
	"os"
	"unsafe"
)

// (module (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))
var add = []byte("\x00asm\x01\x00\x00\x00\x01\x07\x01\x60\x02\x7f\x7f\x01\x7f\x03\x02\x01\x00\x07\x07\x01\x03add\x00\x00" +
	"\x0a\x09\x01\x07\x00\x20\x00\x20\x01\x6a\x0b")

func main() {
	var err C.struct_gw_error
	options := C.struct_gw_engine_options{gas: true}
	engine := C.gw_engine_create(&options, &err)
	module := C.gw_module_create(engine, unsafe.Pointer(&add[0]), C.size_t(len(add)), &err)
	store := C.gw_store_create(engine, nil, &err)
	instance := C.gw_instance_create(store, module, nil, nil, &err)
	name := C.CString("add")
	values := [2]C.union_gw_value{}
	C.put(&values[0], 20)
	C.put(&values[1], 22)
	if instance == nil || !bool(C.gw_call_export(instance, name, &values[0], 2, &err)) {
		fmt.Fprintln(os.Stderr, C.GoString(C.message(&err)))
		os.Exit(1)
	}
	fmt.Printf("20 + 22 = %d, gas %d\n", C.get(&values[0]), C.gw_store_gas_used(store))
	C.gw_store_destroy(store)
	C.gw_module_release(module)
	C.gw_engine_destroy(engine)
}
