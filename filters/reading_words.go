package filters

// maxTextInput bounds what DecodeText converts.
const maxTextInput = 4 << 20

// DecodeText converts s from the named charset to UTF-8, as the facts are; what cannot be
// converted is read as UTF-8, else as windows-1252. The result is valid UTF-8.
func DecodeText(charset, s string) string { return convert(charset, s, maxTextInput) }

// DecodeWords decodes encoded words (RFC 2047) wherever they stand. The result is valid UTF-8.
func DecodeWords(s string) string { return decodeWords(s) }

// URLHost is the host of a URL in A-labels, as a browser finds it; "" when it has none.
func URLHost(url string) string { return urlHost(url) }

// ShownHost is the host that a text looks like, in A-labels; "" when it looks like none.
func ShownHost(text string) string { return shownHost(text) }

// IsDirection reports characters that change what a name looks like: directional marks and
// overrides, zero-width ones, the byte order mark.
func IsDirection(r rune) bool { return isDirection(r) }

// SavedName is a file name as a file system would get it: no controls or direction marks, no
// quotes, no blanks around, no dots or blanks at its end.
func SavedName(name string) string { return savedName(name) }
