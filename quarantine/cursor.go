package quarantine

import "strconv"

func cursorAfter(seq int64) string { return strconv.FormatInt(seq, 10) }
