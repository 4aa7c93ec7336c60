package filters

import (
	"encoding/json"
	"reflect"
	"regexp"
	"testing"
)

// What every filter's facts must be: plain data with an error field, named the same in rules
// and in JSON, each explained, and the same after a JSON round trip.
func TestFactsContract(t *testing.T) {
	name := regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	var walk func(path string, typ reflect.Type)
	walk = func(path string, typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Slice:
			walk(path+"[]", typ.Elem())
		case reflect.Map:
			if typ.Key().Kind() != reflect.String {
				t.Errorf("%s: a map by %v", path, typ.Key())
			}
			walk(path+"[]", typ.Elem())
		case reflect.Struct:
			if typ.PkgPath() == "time" {
				return
			}
			for i := range typ.NumField() {
				f := typ.Field(i)
				word := f.Tag.Get("expr")
				at := path + "." + word
				if !f.IsExported() || !name.MatchString(word) {
					t.Errorf("%s.%s: not exported, or expr tag %q", path, f.Name, word)
				}
				if tag := f.Tag.Get("json"); tag != word && tag != word+",omitempty" && tag != word+",omitzero" {
					t.Errorf("%s: json tag %q", at, tag)
				}
				if len(f.Tag.Get("doc")) < 2 {
					t.Errorf("%s: not explained", at)
				}
				walk(at, f.Type)
			}
		case reflect.String, reflect.Bool, reflect.Int, reflect.Float64:
		default:
			t.Errorf("%s: a %v is no plain data", path, typ)
		}
	}
	for filter, zero := range Vocabulary() {
		typ := reflect.TypeOf(zero)
		if f, ok := typ.FieldByName("Error"); !ok || f.Tag.Get("expr") != "error" {
			t.Errorf("%s: no error field", filter)
		}
		walk(filter, typ)
		full := reflect.New(typ)
		fill(full.Elem())
		text, err := json.Marshal(full.Interface())
		if err != nil {
			t.Errorf("%s: %v", filter, err)
			continue
		}
		back := reflect.New(typ)
		if err := json.Unmarshal(text, back.Interface()); err != nil || !reflect.DeepEqual(full.Interface(), back.Interface()) {
			t.Errorf("%s does not survive JSON (%v):\n%+v\n%+v", filter, err, full.Elem(), back.Elem())
		}
	}
}

// fill gives every field some value.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int:
		v.SetInt(7)
	case reflect.Float64:
		v.SetFloat(1.5)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		e := reflect.New(v.Type().Elem()).Elem()
		fill(e)
		v.SetMapIndex(reflect.ValueOf("k"), e)
	case reflect.Struct:
		if v.Type().PkgPath() != "time" {
			for i := range v.NumField() {
				fill(v.Field(i))
			}
		}
	}
}
