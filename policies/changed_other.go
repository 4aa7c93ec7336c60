//go:build !linux

package policies

import (
	"io/fs"
	"time"
)

// changed is when the content of a file last changed.
func changed(i fs.FileInfo) time.Time { return i.ModTime() }
