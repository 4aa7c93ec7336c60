package quarantine

import "fmt"

// CursorAfter is the cursor of a page that begins behind this item.
func CursorAfter(it *Item) string { return fmt.Sprintf("%d.%s", micro(it.Received), it.ID) }
