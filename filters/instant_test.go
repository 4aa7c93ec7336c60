package filters_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/filters"
	"postern/mail"
)

type quickFacts struct {
	Error string
	N     int
}

func quick(name string, gather func(ctx context.Context, in *filters.Input) (any, error), after ...string) filters.Filter {
	return filters.Filter{Name: name, Facts: quickFacts{}, Quick: true, After: after, Timeout: time.Second, Gather: gather}
}

// A filter that is tried on the spot fails in the same ways as one in a goroutine.
func TestQuickFailuresAreResults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		s := filters.NewScope(nil)
		s.Start(t.Context(), []filters.Filter{
			quick("panics", func(context.Context, *filters.Input) (any, error) { panic("boom") }),
			quick("fails", func(context.Context, *filters.Input) (any, error) { return nil, errors.New("no route") }),
			quick("lies", func(context.Context, *filters.Input) (any, error) { return "?", nil }),
			quick("late", func(context.Context, *filters.Input) (any, error) {
				time.Sleep(2 * time.Second)
				return quickFacts{N: 1}, nil
			}),
			quick("reads", func(ctx context.Context, in *filters.Input) (any, error) {
				tries++
				v, err := in.Fact(ctx, "stalls") // not there yet: it begins again in a goroutine, where its limit ends it
				return v, err
			}, "stalls"),
			{Name: "stalls", Facts: quickFacts{}, Timeout: time.Minute, Gather: func(ctx context.Context, _ *filters.Input) (any, error) {
				<-ctx.Done()
				return nil, context.Cause(ctx)
			}},
		}, filters.Input{})
		s.Join()
		for name, want := range map[string]string{"panics": "boom", "fails": "no route", "lies": "returned string", "late": "timed out", "reads": "timed out", "stalls": "timed out"} {
			v, err, known := s.Lookup(name)
			if f, ok := v.(quickFacts); !known || err == nil || !ok || !strings.Contains(f.Error, want) || f.N != 0 {
				t.Errorf("%s: %+v, %v, %v; want only an error about %q", name, v, err, known, want)
			}
		}
		if tries != 2 {
			t.Errorf("what had to wait was begun %d times, want 2", tries)
		}
		for _, r := range s.Results() {
			if want := r.Name == "late" || r.Name == "reads" || r.Name == "stalls"; r.Timeout != want {
				t.Errorf("%s: timed out: %v", r.Name, r.Timeout)
			}
		}
	})
}

// A filter that reads one which comes behind it in the list gets its facts all the same.
func TestQuickInAnyOrder(t *testing.T) {
	first := quick("first", func(context.Context, *filters.Input) (any, error) { return quickFacts{N: 1}, nil })
	second := quick("second", func(ctx context.Context, in *filters.Input) (any, error) {
		v, err := in.Fact(ctx, "first")
		if err != nil {
			return nil, err
		}
		return quickFacts{N: v.(quickFacts).N + 1}, nil
	}, "first")
	for _, fs := range [][]filters.Filter{{first, second}, {second, first}} {
		s := filters.NewScope(nil)
		s.Start(t.Context(), fs, filters.Input{})
		if err := s.Wait(t.Context(), "second"); err != nil {
			t.Fatal(err)
		}
		if v, err, known := s.Lookup("second"); !known || err != nil || v.(quickFacts).N != 2 {
			t.Errorf("%s first: %v, %v, %v", fs[0].Name, v, err, known)
		}
		s.Join()
	}
}

// Facts are the same whether filters ran here or in goroutines, with answers remembered or not.
// When all are, none is left at work when Start returns.
func TestQuickFactsAreTheSame(t *testing.T) {
	msg, zone := benchMessage(t, 4<<10)
	now := time.Now()
	flat := strings.Replace(string(msg), "DKIM-Signature:", "X-Old:", 1)
	texts := map[string]string{
		"signed":       string(msg),
		"changed":      strings.Replace(string(msg), "report", "rapport", 1),
		"unsigned":     flat,
		"twice":        string(msg[:strings.Index(string(msg), "Received:")]) + string(msg),
		"foreign key":  strings.Replace(string(msg), "s=rsa", "s=none", 1),
		"two authors":  strings.Replace(flat, "From:", "From: b@example.net\r\nFrom:", 1),
		"other author": strings.Replace(flat, "alex@example.org", "alex@news.example.org", 1),
		"no header":    "\r\nbody",
		"big":          string(msg) + strings.Repeat("and so on\r\n", 20000),
	}
	for name, text := range texts {
		gather := func(fs []filters.Filter) map[string]any {
			in := filters.Input{Envelope: mail.Envelope{ID: "1", Received: now, Client: mail.Client{Addr: netip.MustParseAddr("192.0.2.1"), Helo: "out.example.org"}},
				Body: mail.BodyOf([]byte(text))}
			in.Sender, _ = mail.ParseAddress("bounce@example.org", false)
			s := filters.NewScope(nil)
			s.Start(t.Context(), fs, in)
			if fs[0].Name == "warm" && len(text) < 100<<10 && s.Busy() {
				t.Errorf("%s: all answers are remembered, and yet a filter is at work", name)
			}
			s.Join()
			all := map[string]any{}
			for _, r := range s.Results() {
				all[r.Name] = fmt.Sprintf("%+v %v", r.Facts, r.Err)
			}
			delete(all, "warm")
			return all
		}
		quicks := slices.DeleteFunc(filters.New(filters.Config{Resolver: resolver(t, zone, filters.ResolverConfig{})}), func(f filters.Filter) bool { return f.Lazy })
		slow := slices.DeleteFunc(filters.New(filters.Config{Resolver: resolver(t, zone, filters.ResolverConfig{})}), func(f filters.Filter) bool { return f.Lazy })
		for i := range slow {
			slow[i].Quick = false
		}
		want := gather(slow)
		cold := gather(quicks)
		warm := gather(append([]filters.Filter{{Name: "warm", Facts: quickFacts{}, Inline: true, Gather: func(context.Context, *filters.Input) (any, error) { return quickFacts{}, nil }}}, quicks...))
		for what, got := range map[string]map[string]any{"cold": cold, "warm": warm} {
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s, %s:\ngot  %v\nwant %v", name, what, got, want)
			}
		}
	}
}

// Start does not wait for a DNS server that says nothing.
func TestQuickDoesNotWaitForDNS(t *testing.T) {
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	d := dnsTo(t, filters.ResolverConfig{Servers: []string{silent.LocalAddr().String()}, Timeout: time.Hour})
	msg, _ := benchMessage(t, 4<<10)
	ctx, cancel := context.WithCancel(t.Context())
	in := filters.Input{Envelope: mail.Envelope{Received: time.Now(), Client: mail.Client{Addr: netip.MustParseAddr("192.0.2.1"), Helo: "out.example.org"}}, Body: mail.BodyOf(msg)}
	in.Sender, _ = mail.ParseAddress("bounce@example.org", false)
	s := filters.NewScope(nil)
	s.Start(ctx, filters.New(filters.Config{Resolver: d}), in) // returns, else the test stands here for an hour
	for _, name := range []string{"spf", "dkim", "dmarc"} {
		if _, _, known := s.Lookup(name); known {
			t.Errorf("%s has a result, though no question was answered", name)
		}
	}
	cancel()
	s.Join()
}
