package filters

import (
	"bytes"
	"context"
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"postern/mail"
)

// formDefects are those that may keep a scanner of whole messages from a part (C-01).
const formDefects = 1<<malformedHeader | 1<<hiddenField | 1<<typeConflict | 1<<typeMalformed | 1<<typeUnknown | 1<<boundaryConflict | 1<<boundaryMissing |
	1<<boundaryOdd | 1<<boundaryLong | 1<<boundaryAbsent | 1<<boundaryMismatch | 1<<boundaryJunk | 1<<boundaryUnexpected | 1<<partAfterClose | 1<<embeddedPart |
	1<<encodingConflict | 1<<encodingOdd | 1<<encodingUnknown | 1<<encodingOnMultipart | 1<<base64Junk | 1<<base64Padding | 1<<base64Lines | 1<<base64Short |
	1<<qpBad | 1<<qpBlanks | 1<<partialMessage | 1<<globalMessage | 1<<uuencoded | 1<<yencoded | 1<<binhexed | 1<<typeMismatch | 1<<headerUnended | 1<<parsersDisagree | 1<<overLimits

// A viewList keeps what parts decode to.
type viewList struct {
	list [][]byte
	left int
	over bool
}

func (v *viewList) keep(have, p []byte) []byte {
	if len(p) > v.left {
		p, v.over = p[:v.left], true
	}
	v.left -= len(p)
	return append(have, p...)
}

// deeper notes what a scanner of bytes does not see although readers may: text in a charset that
// is not ASCII below 128, base64 that no field declares, and a zip archive behind other bytes.
func (k *sink) deeper() {
	c := k.l.s.c
	wide := k.text && wideCharset(k.l.ent.charset)
	hidden := base64Magic(k.head)
	behind := bytes.Index(k.head, []byte("PK\x03\x04"))
	c.unusual = c.unusual || wide || hidden || behind > 0
	if c.views == nil || len(k.seen) == 0 {
		return
	}
	if wide { // what of it is ASCII, whatever the order of its bytes
		c.views.add(bytes.ReplaceAll(bytes.Trim(k.seen, "\xfe\xff\x00"), []byte{0}, nil))
	}
	if behind > 0 {
		c.views.add(k.seen[min(behind, len(k.seen)):])
	}
	if hidden {
		d := base64Decoder{flaws: &defects{}}
		var out collected
		d.decode(k.seen, &out)
		d.close(&out)
		c.views.add(out)
	}
}

func (v *viewList) add(p []byte) { v.list = append(v.list, v.keep(nil, p)) }

// collected is a taker that keeps everything.
type collected []byte

func (b *collected) take(p []byte) { *b = append(*b, p...) }

// wideCharset reports whether a charset has more than a byte for a letter of ASCII.
func wideCharset(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc([]string{"utf-16", "utf16", "utf-32", "utf32", "ucs-", "ucs2", "ucs4", "unicode"}, func(w string) bool { return strings.Contains(name, w) })
}

// base64Magic reports whether what was decoded is base64 once more, of a program, an archive or
// a document.
func base64Magic(head []byte) bool {
	head = bytes.TrimLeft(head[:min(len(head), 64)], " \t\r\n")
	if len(head) < 8 {
		return false
	}
	for _, c := range head[:8] {
		if b64Value[c] == b64Bad || isBlank(c) {
			return false // what most texts begin with; the error of a decoder would cost more
		}
	}
	var b [6]byte
	_, err := base64.StdEncoding.Decode(b[:], head[:8])
	return err == nil && binaryMagic(b[:])
}

// decodedViews gives every part of a finished message in every reading, decoded, for a scanner
// that looks only at bytes: union scanning (C-01). It keeps at most limit bytes in all; over
// tells that there was more. It costs a second walk, so it is for messages whose form is
// unusual.
func decodedViews(ctx context.Context, body *mail.Body, limit int) (views [][]byte, over bool, err error) {
	h, err := body.Header()
	if err != nil {
		return nil, false, err
	}
	r := body.Open()
	defer r.Close()
	c := newCollector()
	defer c.release()
	c.views = &viewList{left: limit}
	err = c.read(h, time.Time{}, func() ([]byte, error) {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return r.Next()
	})
	return c.views.list, c.views.over || c.flaws.has(overLimits), err
}
