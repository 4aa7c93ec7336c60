package gateway

import (
	"errors"
	"io"
	"strings"
	"testing"

	"postern/mail"
	"postern/quarantine"
)

func heldItem() *quarantine.Item {
	return &quarantine.Item{ID: "01HELD", Envelope: upEnvelope(), Copies: []quarantine.Copy{
		{Recipient: upRcpt("b")}, {Recipient: upRcpt("unknown")}, {Recipient: upRcpt("c")},
		{Recipient: mail.RcptTo{Address: mail.Address{Local: "d", Domain: "other.test"}}}}}
}

// closeCounter counts what was opened and not closed.
type closeCounter struct {
	io.Reader
	open *int
}

func (c closeCounter) Close() error { *c.open--; return nil }

func TestReleaseSendsToEachRoute(t *testing.T) {
	a, b := newUpSink(t, nil), newUpSink(t, nil)
	conf := func(addr string) ServerConfig {
		return ServerConfig{Addresses: []string{addr}, Helo: "gw.test", TLS: TLSNone}
	}
	up, err := NewServers(ServersConfig{Groups: map[string]ServerConfig{"default": conf(a.addr), "other": conf(b.addr)},
		Routes: map[string]string{"other.test": "other"}})
	if err != nil {
		t.Fatal(err)
	}
	defer up.Close()
	open, opened := 0, 0
	const stamp = "Received: again\r\n"
	opener := func() (Source, int64, error) {
		open++
		opened++
		return SourceOf([]byte(stamp), closeCounter{strings.NewReader(upText), &open}), int64(len(stamp + upText)), nil
	}
	fates := (&Releaser{Upstream: up}).Release(t.Context(), heldItem(), nil, opener)
	var got []string
	for _, f := range fates {
		got = append(got, f.Recipient.Address.Local+" "+f.Fate+" "+f.Reply.String())
	}
	want := "b delivered 250 2.0.0 Ok: queued|unknown refused 550 5.1.1 No such user|c delivered 250 2.0.0 Ok: queued|d delivered 250 2.0.0 Ok: queued"
	if strings.Join(got, "|") != want {
		t.Errorf("got %q", got)
	}
	if open != 0 || opened != 2 {
		t.Errorf("opened %d times, %d left open", opened, open)
	}
	m := a.taken()
	if len(m) != 1 || string(m[0].body) != stamp+upText || len(m[0].to) != 2 || m[0].from != "MAIL FROM:<a@sender.test> SIZE=38" {
		t.Errorf("arrived %+v", m)
	}
	if m := b.taken(); len(m) != 1 || len(m[0].to) != 1 {
		t.Errorf("arrived at the other %+v", m)
	}
	// To somebody else.
	fates = (&Releaser{Upstream: up}).Release(t.Context(), heldItem(), []mail.RcptTo{upRcpt("boss")}, opener)
	if len(fates) != 1 || fates[0].Fate != FateDelivered || !strings.Contains(a.taken()[1].to[0], "<boss@") {
		t.Errorf("fates %+v", fates)
	}
}

func TestReleaseTellsUnsentFromUnknown(t *testing.T) {
	for name, c := range map[string]struct {
		on    func(*upSinkConn, string, string) bool
		open  error
		fates string
	}{
		"no server":           {closeAt("connect"), nil, "unsent unsent unsent unsent"},
		"sender refused":      {at("MAIL", "550 5.7.1 No"), nil, "refused refused refused refused"},
		"dies at RCPT":        {closeAt("RCPT"), nil, "unsent unsent unsent unsent"},
		"dies before content": {closeAt("body"), nil, "unsent refused unsent unsent"},
		"dies after the dot":  {closeAt("dot"), nil, "unknown refused unknown unknown"},
		"refuses the message": {at("dot", "554 5.7.1 No"), nil, "refused refused refused refused"},
		"no file":             {nil, errors.New("no file"), "unsent unsent unsent unsent"},
	} {
		s := newUpSink(t, c.on)
		up := serversFor(t, nil, s.addr)
		fates := (&Releaser{Upstream: up}).Release(t.Context(), heldItem(), nil, func() (Source, int64, error) {
			return upBlocks(upText), int64(len(upText)), c.open
		})
		var got []string
		for _, f := range fates {
			got = append(got, f.Fate)
			if (f.Reply == nil) == (f.Err == nil) || f.Err != nil && f.Fate == FateRefused {
				t.Errorf("%s: reply %v, error %v", name, f.Reply, f.Err)
			}
		}
		if strings.Join(got, " ") != c.fates {
			t.Errorf("%s: %v, want %s", name, got, c.fates)
		}
	}
}

func TestSourceOfKeepsTheReadersError(t *testing.T) {
	s := SourceOf(nil, &once{})
	if p, err := s.Next(); string(p) != "x" || err != nil {
		t.Fatal(p, err)
	}
	if _, err := s.Next(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a message that broke off has ended well: %v", err)
	}
}

// once gives bytes and its error together, and then pretends to be at the end.
type once struct{ read bool }

func (o *once) Read(p []byte) (int, error) {
	if o.read {
		return 0, io.EOF
	}
	o.read = true
	return copy(p, "x"), io.ErrUnexpectedEOF
}

// A person's release does not fail over delivery reports that the server cannot do.
func TestReleaseWithoutDSN(t *testing.T) {
	s := newUpSink(t, nil)
	s.set(func() { s.ehlo = nil })
	up := serversFor(t, nil, s.addr)
	it := &quarantine.Item{ID: "01HELD", Envelope: upEnvelope(), Copies: []quarantine.Copy{{Recipient: upRcpt("b")}}}
	it.Envelope.Options.Ret, it.Copies[0].Recipient.Notify = "FULL", "FAILURE"
	fates := (&Releaser{Upstream: up}).Release(t.Context(), it, nil, func() (Source, int64, error) {
		return SourceOf(nil, strings.NewReader(upText)), int64(len(upText)), nil
	})
	if len(fates) != 1 || fates[0].Fate != FateDelivered || len(s.taken()) != 1 || it.Copies[0].Recipient.Notify == "" {
		t.Errorf("%+v", fates)
	}
}
