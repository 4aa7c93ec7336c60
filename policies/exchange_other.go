//go:build !linux

package policies

import "errors"

func renameExchange(_, _ string) error { return errors.ErrUnsupported }
