package main

import (
	"encoding/json"
	"reflect"
	"strings"

	"postern/filters"
	"postern/gateway"
	"postern/mail"
	"postern/rules"
)

// tryResult is what try says of a message. As JSON its names are a contract, and every fact
// is there, also one that is empty.
type tryResult struct {
	File     string
	Verdicts []tryVerdict
	Facts    map[string]any // those of the first recipient where they differ
	Timings  []tryTiming
	Error    string
}

type tryVerdict struct {
	Recipient string `json:"recipient"`
	rules.Verdict
	Answer tryReply     `json:"reply"`
	Flip   []rules.Flip `json:"flip,omitempty"`  // single changes that would have led elsewhere
	Walk   []rules.Step `json:"steps,omitempty"` // where there are several recipients
}

type tryReply struct {
	Code     int    `json:"code"`
	Enhanced string `json:"enhanced"`
	Text     string `json:"text"`
}

type tryTiming struct {
	Name string  `json:"name"`
	MS   float64 `json:"ms"`
}

// MarshalJSON gives the contract's form.
func (r *tryResult) MarshalJSON() ([]byte, error) {
	out := struct {
		File     string         `json:"file"`
		Verdicts []tryVerdict   `json:"verdicts"`
		Facts    map[string]any `json:"facts"`
		Steps    []rules.Step   `json:"steps"`
		Timings  []tryTiming    `json:"filters"`
		Error    string         `json:"error,omitempty"`
	}{r.File, append([]tryVerdict{}, r.Verdicts...), make(map[string]any, len(r.Facts)), []rules.Step{}, append([]tryTiming{}, r.Timings...), r.Error}
	for name, facts := range r.Facts {
		out.Facts[name] = whole(reflect.ValueOf(facts))
	}
	for i := range out.Verdicts {
		v := &out.Verdicts[i]
		if v.Effects == nil {
			v.Effects = []rules.Effect{}
		}
		if len(out.Verdicts) > 1 {
			v.Walk = v.Steps
		}
		if i == 0 {
			out.Steps = append(out.Steps, v.Steps...)
		}
	}
	return json.Marshal(out)
}

// whole gives facts with their empty fields, and with [] and {} for what is nil; only an empty
// error is left out.
func whole(v reflect.Value) any {
	if !v.IsValid() {
		return nil
	}
	if _, ok := v.Interface().(json.Marshaler); ok {
		return v.Interface()
	}
	switch v.Kind() {
	case reflect.Struct:
		m := make(map[string]any, v.NumField())
		for i := range v.NumField() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			if name != "error" || !v.Field(i).IsZero() {
				m[name] = whole(v.Field(i))
			}
		}
		return m
	case reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = whole(v.Index(i))
		}
		return list
	case reflect.Map:
		m := make(map[string]any, v.Len())
		for it := v.MapRange(); it.Next(); {
			m[it.Key().String()] = whole(it.Value())
		}
		return m
	}
	return v.Interface()
}

// add notes a recipient's verdict.
func (r *tryResult) add(to mail.Address, v rules.Verdict, id string) {
	r.Verdicts = append(r.Verdicts, tryVerdict{Recipient: to.String(), Verdict: v, Answer: replyOf(gateway.Answer(&v, id))})
}

// gathered notes the facts of a scope.
func (r *tryResult) gathered(results []filters.Result) {
	if r.Facts == nil {
		r.Facts = map[string]any{}
	}
	for _, f := range results {
		if _, there := r.Facts[f.Name]; !there {
			r.Facts[f.Name] = f.Facts
			r.Timings = append(r.Timings, tryTiming{f.Name, millis(f.Took)})
		}
	}
}

// off notes the filters that are not configured: their facts are nobody's word.
func (r *tryResult) off(configured []filters.Filter) {
	on := map[string]bool{}
	for i := range configured {
		on[configured[i].Name] = true
	}
	for name, zero := range filters.Vocabulary() {
		if !on[name] {
			v := reflect.New(reflect.TypeOf(zero)).Elem()
			v.FieldByName("Error").SetString(filters.ErrOff.Error())
			r.Facts[name] = v.Interface()
		}
	}
}

// replyOf is a reply as JSON has it.
func replyOf(r *mail.Reply) tryReply {
	return tryReply{Code: r.Code, Enhanced: r.EnhancedString(), Text: r.Text}
}
