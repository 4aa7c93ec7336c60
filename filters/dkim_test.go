package filters

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/mail"
)

// fakeKeys is a Resolver with TXT records alone; it notes what it was asked.
type fakeKeys struct {
	Resolver
	txt    map[string][]string
	broken map[string]bool

	mu    sync.Mutex
	asked []string
}

func (k *fakeKeys) TXT(_ context.Context, name string) ([]string, error) {
	k.mu.Lock()
	k.asked = append(k.asked, name)
	k.mu.Unlock()
	name = strings.ToLower(name)
	if k.broken[name] {
		return nil, &DNSError{Name: name, Temporary: true}
	}
	if txt := k.txt[name]; len(txt) > 0 {
		return txt, nil
	}
	return nil, &DNSError{Name: name, NotFound: true, NXDomain: true}
}

// verifyBytes runs the filter over a finished message.
func verifyBytes(t testing.TB, r Resolver, msg []byte, now time.Time) DKIMFacts {
	t.Helper()
	body := mail.BodyOf(msg)
	defer body.Close()
	f, err := dkim(DKIMConfig{}, r).Gather(context.Background(), &Input{Envelope: mail.Envelope{Received: now}, Body: body})
	if err != nil {
		t.Fatal(err)
	}
	return f.(DKIMFacts)
}
