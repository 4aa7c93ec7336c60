package web

import (
	"io"
	"net/http"

	"postern/people"
)

// contentCalls give what stands in a message.
func contentCalls() []endpoint {
	return []endpoint{{
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
			h.Set("Content-Disposition", `attachment; filename="`+fileName(id)+`.eml"`)
			h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
			if _, err = io.Copy(c.w, r); err != nil {
				panic(http.ErrAbortHandler) // what was sent is not the message: the connection says so
			}
			return written{}, nil
		},
	}}
}

// fileName keeps of an id what every system takes in a name; ids of ours lose nothing.
func fileName(id string) string {
	safe := []byte{}
	for _, b := range []byte(id) {
		if b >= '0' && b <= '9' || b >= 'A' && b <= 'Z' || b >= 'a' && b <= 'z' || b == '-' {
			safe = append(safe, b)
		}
	}
	return string(safe[:min(len(safe), 64)])
}
