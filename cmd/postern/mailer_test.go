package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"postern/digest"
	"postern/gateway"
	"postern/mail"
	"postern/testkit"
)

// mailerTo makes a mailer in front of an internal server.
func mailerTo(t *testing.T, addr string) *mailer {
	t.Helper()
	domains, err := mail.NewDomainSet([]string{"example.org"})
	if err != nil {
		t.Fatal(err)
	}
	up, err := gateway.NewServers(gateway.ServersConfig{Groups: map[string]gateway.ServerConfig{
		gateway.DefaultGroup: {Addresses: []string{addr}, Helo: "mx.example.org", Timeouts: gateway.ServerTimeouts{Connect: time.Second}}},
		Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { up.Close() })
	return newMailer(&Config{}, gateway.Config{Hostname: "mx.example.org", Domains: domains}, up, slog.New(slog.DiscardHandler))
}

// Mail of our own reaches people inside by a real internal server, and nobody else by anything.
func TestMailer(t *testing.T) {
	p := testkit.StartPostfix(t, testkit.PostfixOptions{})
	m := mailerTo(t, p.Addr)
	if err := m.Send(t.Context(), mail.Address{Local: "b", Domain: "example.org"}, "Grüße", "one\n.two\n"); err != nil {
		t.Fatal(err)
	}
	got := p.WaitMessages("b", 1)[0]
	for _, want := range []string{"Return-Path: <>\r\n", "\r\nAuto-Submitted: auto-generated\r\n", "\r\nFrom: \"Postern\" <postern@mx.example.org>\r\n",
		"\r\nTo: <b@example.org>\r\n", "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n", "\r\n\r\none\r\n.two\r\n"} {
		if !bytes.Contains(got, []byte(want)) {
			t.Errorf("it lacks %q:\n%s", want, got)
		}
	}
	if err := m.Send(t.Context(), mail.Address{Local: "nobody", Domain: "example.org"}, "x", "y"); !errors.Is(err, digest.ErrRefused) || !strings.Contains(err.Error(), "550") {
		t.Error(err)
	}
	if err := m.Send(t.Context(), mail.Address{Local: "b", Domain: "example.com"}, "x", "y"); !errors.Is(err, errOutside) {
		t.Error(err)
	}
	down := mailerTo(t, "127.0.0.1:1")
	if err := down.Send(t.Context(), mail.Address{Local: "b", Domain: "example.org"}, "x", "y"); err == nil || errors.Is(err, digest.ErrRefused) {
		t.Error(err)
	}
	for range mailsAtOnce {
		m.slots <- struct{}{}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := m.Send(ctx, mail.Address{Local: "b", Domain: "example.org"}, "x", "y"); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
