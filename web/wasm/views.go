//go:build js && wasm

package main

import (
	"reflect"
	"strings"
	"syscall/js"
)

// toJS turns view structs into plain objects, which structuredClone can copy between worker and page. Fields keep
// their names with a small first letter (LastText → lastText, ID → id); what is nil is undefined.
func toJS(value any) js.Value { return reflectToJS(reflect.ValueOf(value)) }

func reflectToJS(v reflect.Value) js.Value {
	switch v.Kind() {
	case reflect.Struct:
		o := js.Global().Get("Object").New()
		for i := range v.NumField() {
			if field := reflectToJS(v.Field(i)); !field.IsUndefined() {
				o.Set(small(v.Type().Field(i).Name), field)
			}
		}
		return o
	case reflect.Slice:
		a := js.Global().Get("Array").New(v.Len())
		for i := range v.Len() {
			a.SetIndex(i, reflectToJS(v.Index(i)))
		}
		return a
	case reflect.Map:
		o := js.Global().Get("Object").New()
		for _, k := range v.MapKeys() {
			o.Set(k.String(), reflectToJS(v.MapIndex(k)))
		}
		return o
	case reflect.Pointer, reflect.Interface:
		return reflectToJS(v.Elem())
	case reflect.String:
		return js.ValueOf(v.String())
	case reflect.Bool:
		return js.ValueOf(v.Bool())
	case reflect.Int, reflect.Int64:
		return js.ValueOf(v.Int())
	}
	return js.Undefined()
}

func small(name string) string {
	if strings.ToUpper(name) == name {
		return strings.ToLower(name)
	}
	return strings.ToLower(name[:1]) + name[1:]
}
