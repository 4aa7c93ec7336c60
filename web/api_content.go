package web

import (
	"io"
	"net/http"
	"strconv"

	"postern/people"
	"postern/preview"
	"postern/review"
)

// A Download is the password of an encrypted zip.
type Download struct {
	Password string `json:"password"`
}

// shortestPassword of a download; it keeps scanners and slips away, it guards no secret.
const shortestPassword = 8

// contentCalls give what stands in a message.
func contentCalls() []endpoint {
	return []endpoint{{
		method: "GET", path: "/held/{id}/content", name: "readHeld", does: "What stands in the message, made harmless: text, HTML for a sandboxed frame, header, hops, attachments, links.",
		needs: people.ReadMail, answer: typeOf[preview.Message](),
		call: func(c *call) (any, error) {
			l, err := c.server.open(c.ctx, c.who, c.r.PathValue("id"), "page")
			if err != nil {
				return nil, err
			}
			defer l.Close()
			return l.Message, nil
		},
	}, {
		method: "POST", path: "/held/{id}/attachments/{n}", name: "downloadAttachment", does: "One attachment, by its index, in a zip that is encrypted with the password.",
		needs: people.Download, body: typeOf[Download](), media: "application/zip",
		call: func(c *call) (any, error) {
			n, err := strconv.ParseInt(c.r.PathValue("n"), 10, 32)
			if err != nil {
				return nil, review.ErrNotFound
			}
			password := c.body.(*Download).Password
			if len(password) < shortestPassword || len(password) > 128 {
				return nil, badCall("password: from %d to 128 bytes", shortestPassword)
			}
			return written{}, c.server.sendZip(c.w, c.r, c.r.PathValue("id"), n, password)
		},
	}, {
		method: "GET", path: "/held/{id}/raw", name: "rawHeld", does: "The message as it was received, byte for byte.", needs: people.Download, media: "message/rfc822",
		call: func(c *call) (any, error) {
			id := c.r.PathValue("id")
			r, err := c.desk.Content(c.ctx, c.who, id, "raw")
			if err != nil {
				return nil, err
			}
			defer r.Close()
			h := c.w.Header() // C-33: never shown, always a file, whatever is in it
			h.Set("Content-Type", "message/rfc822")
			h.Set("Content-Disposition", preview.ContentDisposition(id+".eml"))
			h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
			if _, err = io.Copy(c.w, r); err != nil {
				panic(http.ErrAbortHandler) // what was sent is not the message: the connection says so
			}
			return written{}, nil
		},
	}}
}
