package preview

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"strings"
)

// maxPixels bounds a picture: a small file can be a picture that fills a browser's memory.
const maxPixels = 16 << 20

// picture gives what an address of a picture stands for: a file of the message as a data: URL,
// a data: URL as it is, nothing for all the rest.
func (w *rewriter) picture(src string) string {
	src = strings.TrimSpace(src)
	switch scheme, rest, _ := strings.Cut(src[:min(len(src), 600)], ":"); strings.ToLower(scheme) {
	case "cid":
		data := w.pictures[contentID(rest)]
		if typ := pictureType(data); typ != "" {
			return dataURL(typ, data)
		}
	case "data":
		return src
	}
	return ""
}

func contentID(s string) string {
	return strings.ToLower(strings.Trim(unescapeURL(s), "<> "))
}

func dataURL(typ string, data []byte) string {
	return "data:" + typ + ";base64," + base64.StdEncoding.EncodeToString(data)
}

// pictureURL checks a data: URL: base64 of a picture of pixels, called what it is. SVG is none.
// What it takes is taken from room.
func pictureURL(src string, room *int) (string, bool) {
	head, text, ok := strings.Cut(src, ",")
	if !ok || len(head) > 64 || !strings.HasPrefix(strings.ToLower(head), "data:image/") || !strings.HasSuffix(strings.ToLower(head), ";base64") {
		return "", false
	}
	if room != nil && len(text)/4*3 > *room {
		return "", false
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return "", false
	}
	typ := pictureType(data)
	if typ == "" {
		return "", false
	}
	if room != nil {
		*room -= len(data)
	}
	return dataURL(typ, data), true
}

// pictureType is the type by the bytes; "" when it is no picture of pixels or too large a one.
func pictureType(data []byte) string {
	r := bytes.NewReader(data)
	var c image.Config
	var err error
	typ := ""
	switch {
	case bytes.HasPrefix(data, []byte("\x89PNG\r\n\x1a\n")):
		typ = "image/png"
		c, err = png.DecodeConfig(r)
	case bytes.HasPrefix(data, []byte("\xff\xd8\xff")):
		typ = "image/jpeg"
		c, err = jpeg.DecodeConfig(r)
	case bytes.HasPrefix(data, []byte("GIF8")):
		typ = "image/gif"
		c, err = gif.DecodeConfig(r)
	case len(data) >= 30 && string(data[:4]) == "RIFF" && string(data[8:12]) == "WEBP":
		typ = "image/webp"
		c.Width, c.Height = webpSize(data)
	default:
		return ""
	}
	if err != nil || c.Width <= 0 || c.Height <= 0 || c.Width > maxPixels/c.Height {
		return ""
	}
	return typ
}

// webpSize reads the size of a picture from the first chunk (RFC 9649 2.5 to 2.7); 0 when there
// is none.
func webpSize(p []byte) (w, h int) {
	u24 := func(i int) int { return int(p[i]) | int(p[i+1])<<8 | int(p[i+2])<<16 }
	switch string(p[12:16]) {
	case "VP8X":
		return u24(24) + 1, u24(27) + 1
	case "VP8L":
		bits := binary.LittleEndian.Uint32(p[21:])
		return int(bits&0x3fff) + 1, int(bits>>14&0x3fff) + 1
	case "VP8 ":
		return int(binary.LittleEndian.Uint16(p[26:]) & 0x3fff), int(binary.LittleEndian.Uint16(p[28:]) & 0x3fff)
	}
	return 0, 0
}
