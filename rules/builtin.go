package rules

import _ "embed"

//go:embed builtin.yaml
var builtin []byte

// builtinName is the file that built-in rules stand in.
const builtinName = "builtin.yaml"

// Builtin is the policy for those who have no rule files, and what "include: builtin"
// stands for.
func Builtin() Source { return Source{Name: builtinName, Text: append([]byte(nil), builtin...)} }
