package main

import (
	"strings"
	"testing"

	"postern/store"
)

// D-11: the store has failed. By default clean mail is delivered and the rest put off; with
// store_down: defer_all nothing is taken until a restart.
func TestD11_StoreDown(t *testing.T) {
	t.Parallel()
	for policy, clean := range map[string]string{"relay_clean": "250 2.0.0 Taken", "defer_all": "451 4.3.0 "} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			inside := newSink(t, nil)
			s := newSite(t, inside.addr, "store_down: "+policy+"\n")
			g := s.serve(t)
			try := func(id, body, want string) {
				t.Helper()
				if r := sendMail(t, g.addr, letter(id, id, body+"\r\n"), "a@example.org"); !strings.HasPrefix(r, want) {
					t.Errorf("%s: %q, want %s", id, r, want)
				}
			}
			try("held-before", gtube, "250 2.0.0 OK ")
			try("clean-before", "x", "250 2.0.0 Taken")
			_ = g.program.db.Write(t.Context(), func(*store.Tx) error { return store.ErrCorrupt })
			try("held-down", gtube, "451 4.3.0 ")
			try("clean-down", "x", clean)
			g.healthy(t, "store")
			g.stop(t)
			g = s.serve(t)
			try("held-after", gtube, "250 2.0.0 OK ")
			try("clean-after", "x", "250 2.0.0 Taken")
			g.healthy(t, "")
		})
	}
}
