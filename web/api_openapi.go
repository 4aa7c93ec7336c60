package web

import (
	"encoding"
	"encoding/json"
	"reflect"
	"regexp"
	"strings"
	"time"
)

// OpenAPI is the description of the API (OpenAPI 3.1), made from the list of calls itself.
func OpenAPI() []byte {
	d := describer{schemas: map[string]any{}}
	problem := map[string]any{"description": "Why not (RFC 9457).", "content": map[string]any{"application/problem+json": map[string]any{"schema": d.schema(typeOf[Problem]())}}}
	paths := map[string]any{}
	for _, e := range endpoints() {
		item, _ := paths[apiRoot+e.path].(map[string]any)
		if item == nil {
			item = map[string]any{}
			paths[apiRoot+e.path] = item
		}
		item[strings.ToLower(e.method)] = d.operation(e)
	}
	doc := map[string]any{
		"openapi": "3.1.0",
		"info": map[string]any{"title": "Postern", "version": "1",
			"description": "Everything that the pages do. Errors are application/problem+json. Lists have a cursor: hand over next as cursor until there is none."},
		"paths":    paths,
		"security": []any{map[string]any{"token": []any{}}, map[string]any{"session": []any{}}},
		"components": map[string]any{
			"schemas":   d.schemas,
			"responses": map[string]any{"Problem": problem},
			"securitySchemes": map[string]any{
				"token":   map[string]any{"type": "http", "scheme": "bearer", "description": "Made on the account page or with postern user token add."},
				"session": map[string]any{"type": "apiKey", "in": "cookie", "name": "__Host-postern"},
			},
		},
	}
	text, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return nil // maps, slices and strings only
	}
	return append(text, '\n')
}

// A describer collects the schemas of named types.
type describer struct{ schemas map[string]any }

// operation describes one call.
func (d *describer) operation(e endpoint) map[string]any {
	var params []any
	for _, m := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(e.path, -1) {
		params = append(params, map[string]any{"name": m[1], "in": "path", "required": true, "schema": map[string]any{"type": "string"}})
	}
	for _, p := range e.params {
		schema := map[string]any{"type": p.is}
		if p.is == "date-time" {
			schema = map[string]any{"type": "string", "format": "date-time"}
		}
		params = append(params, map[string]any{"name": p.name, "in": "query", "description": p.means, "schema": schema})
	}
	answers := map[string]any{"default": map[string]any{"$ref": "#/components/responses/Problem"}}
	switch {
	case e.media != "":
		schema := map[string]any{"type": "string"}
		if e.answer != nil {
			schema = d.schema(e.answer)
		}
		answers["200"] = map[string]any{"description": "Done.", "content": map[string]any{e.media: map[string]any{"schema": schema}}}
	case e.answer != nil:
		answers["200"] = map[string]any{"description": "Done.", "content": map[string]any{"application/json": map[string]any{"schema": d.schema(e.answer)}}}
	default:
		answers["204"] = map[string]any{"description": "Done."}
	}
	op := map[string]any{"operationId": e.name, "summary": e.does, "responses": answers}
	if !e.open {
		op["x-permission"] = e.needs.String()
	}
	if params != nil {
		op["parameters"] = params
	}
	if e.body != nil {
		op["requestBody"] = map[string]any{"required": true, "content": map[string]any{"application/json": map[string]any{"schema": d.schema(e.body)}}}
	}
	return op
}

// schema describes a type as encoding/json writes it.
func (d *describer) schema(t reflect.Type) map[string]any {
	switch {
	case t == typeOf[time.Time]():
		return map[string]any{"type": "string", "format": "date-time"}
	case t == typeOf[time.Duration]():
		return map[string]any{"type": "integer", "description": "nanoseconds"}
	case t == typeOf[json.RawMessage]() || t.Kind() == reflect.Interface:
		return map[string]any{}
	case t.Kind() != reflect.Pointer && implements[encoding.TextMarshaler](t):
		return map[string]any{"type": "string"}
	case t.Kind() != reflect.Pointer && implements[json.Marshaler](t):
		return map[string]any{}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return d.schema(t.Elem())
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Float32, reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Slice, reflect.Array:
		return map[string]any{"type": "array", "items": d.schema(t.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": d.schema(t.Elem())}
	case reflect.Struct:
		return d.object(t)
	}
	return map[string]any{"type": "integer"}
}

func implements[T any](t reflect.Type) bool {
	i := reflect.TypeFor[T]()
	return t.Implements(i) || reflect.PointerTo(t).Implements(i)
}

// object describes a struct once, under its name.
func (d *describer) object(t reflect.Type) map[string]any {
	name := t.Name()
	if pkg := t.PkgPath(); name == "" {
		return map[string]any{"type": "object", "properties": d.properties(t)}
	} else if !strings.HasSuffix(pkg, "/review") && !strings.HasSuffix(pkg, "/web") {
		name = strings.ToUpper(pkg[strings.LastIndexByte(pkg, '/')+1:][:1]) + pkg[strings.LastIndexByte(pkg, '/')+2:] + name
	}
	if _, known := d.schemas[name]; !known {
		object := map[string]any{"type": "object"}
		d.schemas[name] = object // before its fields: types that hold themselves
		object["properties"] = d.properties(t)
	}
	return map[string]any{"$ref": "#/components/schemas/" + name}
}

func (d *describer) properties(t reflect.Type) map[string]any {
	out := map[string]any{}
	for i := range t.NumField() {
		f := t.Field(i)
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case tag == "-" || !f.IsExported():
		case f.Anonymous && tag == "" && f.Type.Kind() == reflect.Struct:
			for k, v := range d.properties(f.Type) {
				out[k] = v
			}
		case tag == "":
			out[f.Name] = d.schema(f.Type)
		default:
			out[tag] = d.schema(f.Type)
		}
	}
	return out
}
