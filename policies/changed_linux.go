package policies

import (
	"io/fs"
	"syscall"
	"time"
)

// changed is when content, name or rights of a file last changed.
func changed(i fs.FileInfo) time.Time {
	if st, ok := i.Sys().(*syscall.Stat_t); ok {
		return time.Unix(st.Ctim.Unix())
	}
	return i.ModTime()
}
