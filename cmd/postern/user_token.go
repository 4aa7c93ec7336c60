package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"postern/people"
)

// userTokenCmd keeps what programs sign in with.
type userTokenCmd struct {
	Add    tokenAddCmd    `cmd:"" help:"Make a token; it is printed this once."`
	List   tokenListCmd   `cmd:"" help:"Tokens with what they may, until when, and their last use."`
	Remove tokenRemoveCmd `cmd:"" help:"Make tokens worthless."`
}

// Help is shown by --help.
func (userTokenCmd) Help() string {
	return "Example:\n  postern user token add ana --scope see --scope release --expires 90d > token\n  postern user token list"
}

type tokenAddCmd struct {
	Login string `arg:"" help:"Whom it stands for, as user list has it."`
	storeFlags
	Name    string   `help:"What it is for." default:"made on the command line" placeholder:"WORDS"`
	Scope   []string `help:"What it may, of what the person may (repeatable): ${scopes}; or all." required:"" placeholder:"SCOPE"`
	Expires string   `help:"How long it lasts: a span such as 90d, or a day; a year at most." default:"90d" placeholder:"WHEN"`
}

// Help is shown by --help.
func (tokenAddCmd) Help() string {
	return "Example:\n  postern user token add ana --scope see --scope release --expires 90d > token\n\nIts scopes only narrow the person's role. What is printed is kept nowhere."
}

// Run adds.
func (c *tokenAddCmd) Run(out output) error {
	scopes, err := parseScopes(c.Scope)
	if err != nil {
		return err
	}
	now := time.Now()
	until, err := parseUntil(c.Expires, now)
	if err != nil {
		return &usageError{strings.Replace(err.Error(), "--until", "--expires", 1)}
	}
	ctx := context.Background()
	a, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer a.close()
	p, err := a.people.Get(ctx, a.who(), c.Login)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Login, err)
	}
	t, secret, err := a.people.AddToken(ctx, a.who(), p.ID, c.Name, scopes, until.Sub(now))
	if err != nil {
		return typed(err)
	}
	fmt.Fprintln(out.out, secret)
	fmt.Fprintf(out.err, "postern: token %s of %s, until %s\n", t.ID, t.Login, t.Expires.Local().Format("2006-01-02 15:04"))
	return nil
}

// parseScopes reads the names of permissions; all is nil.
func parseScopes(names []string) ([]people.Permission, error) {
	scopes := []people.Permission{}
	for _, name := range names {
		if name == "all" {
			return nil, nil
		}
		p, err := people.ParsePermission(name)
		if err != nil {
			return nil, &usageError{"--scope: " + err.Error() + ", or all"}
		}
		scopes = append(scopes, p)
	}
	return scopes, nil
}

// scopeNames are the names that parseScopes reads, for the help.
func scopeNames() string {
	var names []string
	for p := range people.Permission(people.All) {
		names = append(names, p.String())
	}
	return strings.Join(names, ", ")
}

type tokenListCmd struct {
	Login string `arg:"" optional:"" help:"Only those of this person."`
	storeFlags
	JSON bool `name:"json" help:"One JSON object a token."`
}

// Help is shown by --help.
func (tokenListCmd) Help() string { return "Example:\n  postern user token list ana" }

// Run lists.
func (c *tokenListCmd) Run(out output) error {
	ctx := context.Background()
	a, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer a.close()
	person := ""
	if c.Login != "" {
		p, err := a.people.Get(ctx, a.who(), c.Login)
		if err != nil {
			return fmt.Errorf("%s: %w", c.Login, err)
		}
		person = p.ID
	}
	all, err := a.people.Tokens(ctx, a.who(), person)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(out.out, all, func(t *people.Token) *people.Token { return t })
	}
	for _, t := range all {
		scopes, used := "all", "never used"
		if t.Scopes != nil {
			names := []string{}
			for _, p := range t.Scopes {
				names = append(names, p.String())
			}
			scopes = strings.Join(names, " ")
		}
		if !t.Used.IsZero() {
			used = "last used " + t.Used.Local().Format("2006-01-02 15:04")
		}
		until := "until " + t.Expires.Local().Format("2006-01-02 15:04")
		if time.Now().After(t.Expires) {
			until = "expired"
		}
		fmt.Fprintf(out.out, "%s  %s  (%s)  %s; %s; %s\n", t.ID, t.Login, t.Name, scopes, until, used)
	}
	return nil
}

type tokenRemoveCmd struct {
	IDs []string `arg:"" name:"id" help:"As token list has them."`
	storeFlags
}

// Help is shown by --help.
func (tokenRemoveCmd) Help() string {
	return "Example:\n  postern user token remove 01k9zt0a6x2v9s3m8q4r5w7y1b"
}

// Run removes.
func (c *tokenRemoveCmd) Run(out output) error {
	ctx := context.Background()
	a, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer a.close()
	failed := false
	for _, id := range c.IDs {
		err := a.people.RemoveToken(ctx, a.who(), id)
		if errors.Is(err, people.ErrNotFound) {
			err = errors.New("there is no such token: postern user token list has them all")
		}
		failed = report(out, false, id, "removed", err) || failed
	}
	if failed {
		return errQuiet
	}
	return nil
}
