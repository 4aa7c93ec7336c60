package rules

import _ "embed"

//go:embed builtin.yaml
var builtin []byte

// Builtin is the policy for those who have no rule files, and what "include: builtin"
// stands for.
func Builtin() Source { return Source{Name: "builtin.yaml", Text: append([]byte(nil), builtin...)} }
