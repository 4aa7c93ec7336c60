package main

import (
	"strings"
	"testing"
	"time"
)

// listed runs a list command on a site and compares what it says; want is a glob.
func (s *site) listed(t *testing.T, code int, want string, args ...string) {
	t.Helper()
	got, out, errs := postern(append(append([]string{"list"}, args...), "-c", s.conf)...)
	if text := strings.TrimSpace(out + errs); got != code || !glob(want, text) {
		t.Errorf("list %s: exit code %d, %s\nwant %d, %s", strings.Join(args, " "), got, text, code, want)
	}
}

// The lists are kept while the gateway is down, and looked at while it runs.
func TestListCommands(t *testing.T) {
	s := newSite(t, "127.0.0.1:1", "")
	s.listed(t, exitFailed, "*it is not there*", "show")
	g := s.serve(t)
	s.listed(t, exitDone, "The lists have nothing that fits.", "show")
	s.listed(t, exitDone, "deny   spam.example  for everybody\ndeny   203.0.113.0/24  for everybody", "add", "deny", "Spam.example", "203.0.113.0/24", "spam.EXAMPLE")
	if err := g.stop(t); err != nil {
		t.Fatal(err)
	}
	s.listed(t, exitDone, "allow  ann@partner.example  for @example.org, until "+time.Now().AddDate(0, 0, 30).Format("2006-01-02")+" *, when it is proven who sent it",
		"add", "allow", "ann@partner.example", "--for", "@Example.org", "--until", "30d", "--note", "invoice project")
	s.listed(t, exitDone, "allow  spam.example  for everybody, without proof who sent it\n  in place of: deny   spam.example  for everybody",
		"add", "allow", "spam.example", "--unauthenticated")
	s.listed(t, exitDone, "deny   203.0.113.0/24  for everybody\n*by *\nallow  ann@partner.example*\n*: invoice project\nallow  spam.example*by *", "show")
	s.listed(t, exitDone, "allow  ann@partner.example*invoice project", "show", "ann@partner.example")
	s.listed(t, exitDone, `{"kind":"network","entry":"203.0.113.0/24","allow":false,"added":"*","by":"*","action":"deny","for":"everybody"}`, "show", "203.0.113.9", "--json")
	s.listed(t, exitDone, "The lists have nothing that fits.", "show", "--for", "everybody", "--action", "allow", "x.example")

	s.listed(t, exitDone, "deny*", "add", "deny", "ann@partner.example")
	s.listed(t, exitFailed, "*ann@partner.example: there are entries for everybody, @example.org: say which with --for", "remove", "ann@partner.example")
	s.listed(t, exitDone, "ann@partner.example: removed (allow, for @example.org)", "remove", "ann@partner.example", "--for", "@example.org")
	s.listed(t, exitFailed, "*b.example: there is no such entry*", "remove", "b.example")
	s.listed(t, exitFailed, "*203.0.113.9: there is no such entry, but 203.0.113.0/24 is about it", "remove", "203.0.113.9")
}

// Entries that no rule in force reads change nothing, and whoever adds one is told so.
func TestListTellsWhatNobodyReads(t *testing.T) {
	s := newSite(t, "127.0.0.1:1", "rules: rules\n")
	s.write(t, "rules/10.yaml", "rules: [{name: a, when: lists.allowed, do: deliver, because: listed}]\n")
	if err := s.serve(t).stop(t); err != nil {
		t.Fatal(err)
	}
	for action, warned := range map[string]bool{"deny": true, "allow": false} {
		code, stdout, stderr := postern("list", "add", action, "x.example", "-c", s.conf, "--json")
		if code != exitDone || len(lines(t, stdout)) != 1 || strings.Contains(stderr, "no rule in force reads what is denied") != warned || !warned && stderr != "" {
			t.Errorf("%s: exit %d\n%s%s", action, code, stdout, stderr)
		}
	}
}

func TestListRefusesMistakes(t *testing.T) {
	s := newSite(t, "127.0.0.1:1", "")
	if err := s.serve(t).stop(t); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		code int
		want string
		args string
	}{
		{exitUsage, `*"*@x.example": there are no wildcards*"com" is a whole top-level domain*`, "add deny *@x.example ok.example com"},
		{exitUsage, "*allow*deny*", "add block x.example"},
		{exitUsage, "*--for*(@example.org)*", "add deny x.example --for example.org"},
		{exitUsage, "*write a span such as 12h or 30d*", "add deny x.example --until tomorrow"},
		{exitUsage, "*--until 2020-01-01 is in the past*", "add deny x.example --until 2020-01-01"},
		{exitUsage, "*--unauthenticated is for allow entries*", "add deny x.example --unauthenticated"},
		{exitFailed, "*gmail.com is a provider*--force*", "add allow gmail.com"},
		{exitFailed, "*wider than a /16*--force*", "add allow 10.0.0.0/8"},
		{exitFailed, "*your own domain*--force*", "add deny example.org"},
		{exitUsage, `*"0.0.0.0/0" is everybody*`, "add deny 0.0.0.0/0 --force"},
		{exitUsage, "*no wildcards*", "show *.x.example"},
		{exitUsage, "*--action*", "show --action block"},
	} {
		s.listed(t, c.code, c.want, strings.Fields(c.args)...)
	}
	s.listed(t, exitDone, "The lists have nothing that fits.", "show") // nothing of a command that failed is there
	s.listed(t, exitDone, "allow  gmail.com*", "add", "allow", "gmail.com", "--force")
}

// try asks the lists and the journal of a gateway when it is told where they are.
func TestTryAsksTheDataFolder(t *testing.T) {
	s := newSite(t, "127.0.0.1:1", "")
	if err := s.serve(t).stop(t); err != nil {
		t.Fatal(err)
	}
	s.listed(t, exitDone, "deny*", "add", "deny", "friend.example", "--for", "ben@example.org")
	s.write(t, "a.eml", "From: eve@friend.example\nSubject: x\nDate: Sun, 22 Nov 2026 12:00:00 +0000\n\nhello\n")
	s.write(t, "zone", "friend.example. TXT \"v=spf1 -all\"\n")
	try := []string{"try", "--zone", s.dir + "/zone", "--to", "ana@example.org", "--to", "ben@example.org", s.dir + "/a.eml"}
	for _, c := range []struct {
		more   []string
		denied int
	}{{nil, 0}, {[]string{"--data", s.data}, 1}} {
		code, out, errs := postern(append(try, c.more...)...)
		if n := strings.Count(out, "friend.example is on the deny list"); code != exitDone || n != c.denied {
			t.Errorf("%v: %d, denied for %d\n%s%s", c.more, code, n, out, errs)
		}
	}
	if code, _, errs := postern(append(try, "--data", s.dir+"/none")...); code != exitFailed || !strings.Contains(errs, "it is not there") {
		t.Errorf("%d, %s", code, errs)
	}
}
