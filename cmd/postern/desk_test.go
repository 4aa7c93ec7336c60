package main

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/mail"
	"postern/people"
	"postern/quarantine"
	"postern/review"
	"postern/testkit"
)

func reviewer(role people.Role) *people.Actor {
	return &people.Actor{Person: people.Person{ID: "1", Login: "olga", Role: role}, By: people.ByPage}
}

// TestC39_ParallelReleaseReal: a hundred releases at once by the desk of a running gateway, and
// Postfix has the message once.
func TestC39_ParallelReleaseReal(t *testing.T) {
	t.Parallel()
	inside := testkit.StartPostfix(t, testkit.PostfixOptions{Mailboxes: []string{"crowd"}})
	s := newSite(t, inside.Addr, "")
	g := s.serve(t)
	reply := sendMail(t, g.addr, letter("one", "one", gtube+"\r\n"), "crowd@example.org")
	id := strings.TrimPrefix(reply, "250 2.0.0 OK ")
	act := review.Act{Do: review.Release, IDs: []string{id}}

	// While the internal server is down it stays held, and says why.
	inside.Stop()
	done, err := g.program.desk.Do(t.Context(), reviewer(people.Operator), act)
	if err != nil || done.Items[0].Result != review.ResultFailed || !strings.Contains(done.Words, "not sent to crowd@example.org") {
		t.Fatalf("%+v, %v", done, err)
	}
	if it, err := g.program.quarantine.Get(t.Context(), id); err != nil || it.State != quarantine.Kept || !strings.Contains(it.Copies[0].Note, "could not be asked") {
		t.Errorf("%+v, %v", it, err)
	}
	inside.Start()
	waitFor(t, "the internal server to be asked again", func() bool {
		g.program.upstream.Probe(t.Context())
		return g.program.upstream.Health() == nil
	})

	var mu sync.Mutex
	said := map[string]int{}
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			done, err := g.program.desk.Do(t.Context(), reviewer(people.Operator), act)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
				return
			}
			said[done.Items[0].Result]++
		})
	}
	wg.Wait()
	if said[review.ResultDone] != 1 || said[review.ResultAlready] != 99 {
		t.Error(said)
	}
	sendMail(t, g.addr, letter("last", "last", "x\r\n"), "crowd@example.org") // behind it in the same queue
	if got := inside.WaitMessages("crowd", 2); len(got) != 2 {
		t.Errorf("%d messages, want the released one and the last", len(got))
	}
	if n, _, err := g.program.audit.Verify(t.Context()); n != 101 || err != nil {
		t.Errorf("%d lines, %v", n, err)
	}
}

// TestC39_ReleaseOfAVirus: looked at again by a real clamd; what an administrator releases all the
// same is marked.
func TestC39_ReleaseOfAVirus(t *testing.T) {
	t.Parallel()
	clamd := testkit.StartClamd(t)
	inside := testkit.StartPostfix(t, testkit.PostfixOptions{Mailboxes: []string{"lab"}})
	s := newSite(t, inside.Addr, "clamav: {addresses: ["+clamd.Addr+"]}\n")
	g := s.serve(t)
	text := letter("virus", "virus", eicar+"\r\n")
	id := strings.TrimPrefix(sendMail(t, g.addr, text, "lab@example.org"), "250 2.0.0 OK ")
	desk := g.program.desk
	result := func(role people.Role, a review.Act) string {
		t.Helper()
		a.Do, a.IDs = review.Release, []string{id}
		done, err := desk.Do(t.Context(), reviewer(role), a)
		if err != nil {
			return err.Error()
		}
		return done.Items[0].Result + " " + done.Words
	}
	for _, c := range []struct {
		role people.Role
		act  review.Act
		want string
	}{
		{people.Operator, review.Act{}, "only an administrator"},
		{people.Operator, review.Act{Danger: true, Reason: "x"}, "only an administrator"},
		{people.Admin, review.Act{}, "failed not released: the virus scanner found"},
		{people.Admin, review.Act{Danger: true}, "failed not released"},
	} {
		if got := result(c.role, c.act); !strings.Contains(got, c.want) {
			t.Errorf("%s %+v: %s", c.role, c.act, got)
		}
	}
	clamd.Kill()
	if got := result(people.Admin, review.Act{Danger: true, Reason: "for the lab"}); !strings.Contains(got, "no answer") {
		t.Error(got)
	}
	clamd.Start()
	if got := result(people.Admin, review.Act{Danger: true, Reason: "for the lab"}); !strings.HasPrefix(got, "done released to lab@example.org") {
		t.Error(got)
	}
	got := inside.WaitMessages("lab", 1)
	if block, same := ours(got[0], []byte(text)); !same || !strings.Contains(block, "X-Postern-Danger: virus ") || bytes.Count(got[0], []byte("X-Postern-Danger")) != 1 {
		t.Errorf("%s", got[0])
	}
}

// What waits is carried out by the running gateway.
func TestDeskRuns(t *testing.T) {
	t.Parallel()
	s := newSite(t, "127.0.0.1:1", "") // nobody is inside: nothing can be released
	g := s.serve(t)
	it := &quarantine.Item{ID: "01K9ZT0A6X2V9S3M8Q4R5W7Y1B", State: quarantine.Kept, Subject: "x",
		Copies: []quarantine.Copy{{Recipient: mail.RcptTo{Address: mail.Address{Local: "b", Domain: "example.org"}}, Class: "spam"}}}
	if err := g.program.quarantine.Hold(t.Context(), it, strings.NewReader("Subject: x\r\n\r\nx\r\n")); err != nil {
		t.Fatal(err)
	}
	who := &people.Actor{Person: people.Person{Login: "root", Role: people.Admin}, By: people.ByCommand}
	done, err := g.program.desk.Do(t.Context(), who, review.Act{Do: review.Delete, IDs: []string{it.ID}, Undoing: true})
	if err != nil || done.ID == "" {
		t.Fatalf("%+v, %v", done, err)
	}
	if got, err := g.program.quarantine.Get(t.Context(), it.ID); err != nil || got.State != quarantine.Kept {
		t.Errorf("before its time: %+v, %v", got, err)
	}
	waitFor(t, "the grace to end", func() bool {
		got, err := g.program.quarantine.Get(t.Context(), it.ID)
		return err == nil && got.State == quarantine.Deleted
	})
	if time.Now().Before(done.Due) {
		t.Errorf("carried out before %s", done.Due)
	}
}

// waitFor asks again and again, for half a minute.
func waitFor(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
