package quarantine

import "strconv"

// CursorAfter is the cursor of a page that begins behind this item, as List gave it.
func CursorAfter(it *Item) string { return cursorAfter(it.seq) }

func cursorAfter(seq int64) string { return strconv.FormatInt(seq, 10) }
