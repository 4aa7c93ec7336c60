package web

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"

	"postern/mail"
	"postern/people"
	"postern/preview"
	"postern/review"
)

// A letterbox is a message that is being looked at, with its bytes. Close it.
type letterbox struct {
	*preview.Message
	body *mail.Body
	end  func()
}

func (l *letterbox) Close() { l.end() }

// open reads a message for somebody; why is as in Desk.Content.
func (s *Server) open(ctx context.Context, who *people.Actor, id, why string) (*letterbox, error) {
	m, err := s.cfg.Desk.Message(ctx, who, id)
	if err != nil {
		return nil, err
	}
	body, end, err := s.content(ctx, who, id, why)
	if err != nil {
		return nil, err
	}
	p, err := s.read(ctx, m, body)
	if err != nil {
		end()
		return nil, err
	}
	return &letterbox{p, body, end}, nil
}

// sendZip answers with one attachment in an encrypted zip (C-33): nothing on the way and nothing on
// the reviewer's machine opens it by itself.
func (s *Server) sendZip(w http.ResponseWriter, r *http.Request, id string, index int64, password string) error {
	l, err := s.open(r.Context(), actor(r), id, "download")
	if err != nil {
		return err
	}
	defer l.Close()
	i := slices.IndexFunc(l.Attachments, func(a preview.Attachment) bool { return a.Index >= 0 && int64(a.Index) == index })
	if i < 0 {
		return review.ErrNotFound
	}
	name := preview.FileName(l.Attachments[i].Name)
	from, to := io.Pipe()
	defer from.Close()
	go func() {
		err := errors.New("reading the attachment panicked")
		defer func() {
			if v := recover(); v != nil { // a message may be made for that: the gateway goes on
				s.cfg.Log.Error("an attachment could not be read", "request", requestID(r), "id", id, "panic", v)
			}
			to.CloseWithError(err)
		}()
		err = preview.CopyAttachment(r.Context(), l.body, int(index), to)
	}()
	return s.writeZip(w, r, id, name, from, password)
}

// writeZip answers with one file in an encrypted zip.
func (s *Server) writeZip(w http.ResponseWriter, r *http.Request, id, name string, content io.Reader, password string) error {
	h := w.Header()
	h.Set("Content-Type", "application/zip")
	h.Set("Content-Disposition", preview.ContentDisposition(name+".zip"))
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	if err := preview.Zip(w, name, content, password); err != nil {
		s.cfg.Log.Error("a download broke off", "request", requestID(r), "id", id, "error", err)
		panic(http.ErrAbortHandler) // what was sent is not the file: the connection says so
	}
	return nil
}
