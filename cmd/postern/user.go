package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"postern/mail"
	"postern/people"
)

// userCmd keeps those who may sign in, also while the gateway runs.
type userCmd struct {
	Add    userAddCmd    `cmd:"" help:"Make an account; the password is read from standard input."`
	List   userListCmd   `cmd:"" help:"Who may sign in, with role, addresses and last sign-in."`
	Change userChangeCmd `cmd:"" help:"Give somebody another role, other addresses or domains."`
	Passwd userPasswdCmd `cmd:"" help:"Give somebody another password; ends all their sessions."`
	Remove userRemoveCmd `cmd:"" help:"Remove accounts with their sessions and tokens."`
	Token  userTokenCmd  `cmd:"" help:"What programs sign in with: add, list, remove."`
}

// Help is shown by --help.
func (userCmd) Help() string {
	return "Example:\n  postern user add ana@example.org --role operator --domain example.org < password-file\n  postern user list"
}

// who is the administrator at the machine who runs a command.
func (a *archive) who() *people.Actor {
	return &people.Actor{Person: people.Person{Login: a.by, Role: people.Admin}, By: people.ByCommand}
}

type userAddCmd struct {
	Login string `arg:"" help:"An address, or a short name."`
	storeFlags
	Role       string   `help:"admin, operator (reviews mail for others), auditor (sees what became of mail, never its text) or user (sees own mail)." default:"user" placeholder:"ROLE"`
	Name       string   `help:"As the pages show it." placeholder:"NAME"`
	Address    []string `help:"An address of theirs, whose mail a user sees (repeatable; default: the login when it is one)." placeholder:"ADDRESS" sep:"none"`
	Domain     []string `help:"Operators and auditors see mail to this domain alone (repeatable; default: all)." placeholder:"DOMAIN" sep:"none"`
	NoPassword bool     `name:"no-password" help:"They sign in by a link that is mailed to them, or by OpenID Connect."`
}

// Help is shown by --help.
func (userAddCmd) Help() string {
	return "Example:\n  postern user add root --role admin\n  postern user add ana@example.org --role operator < password-file\n" +
		"  postern user add ben@example.org --address info@example.org --no-password\n\n" +
		"On a terminal the password is asked for, else it is the first line of standard input; 12 characters at least."
}

// Run adds.
func (c *userAddCmd) Run(out output) error {
	p := people.Person{Login: c.Login, Name: c.Name, Role: people.Role(c.Role), Domains: c.Domain}
	var err error
	if p.Addresses, err = parseAddresses(c.Address); err != nil {
		return err
	}
	ctx := context.Background()
	a, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer a.close()
	password := ""
	if !c.NoPassword {
		if password, err = readPassword(out.err); err != nil {
			return err
		}
		if password == "" && p.Role != people.User {
			return errors.New("no password was given: write it to standard input, or say --no-password for who signs in by OpenID Connect")
		}
	}
	made, err := a.people.Add(ctx, a.who(), p, password)
	if err != nil {
		return typed(err)
	}
	fmt.Fprintf(out.out, "%s is %s.\n", made.Login, roleWords(made.Role))
	if password == "" && made.Role != people.User {
		fmt.Fprintf(out.err, "postern: without a password they sign in by OpenID Connect (web.oidc): postern user change %s --oidc-subject SUBJECT says who that is\n", made.Login)
	} else if password == "" {
		fmt.Fprintln(out.err, "postern: without a password they sign in by a mailed link (web.mail_sign_in) or by OpenID Connect (web.oidc)")
	}
	return nil
}

// typed makes what is wrong with an argument a usage error.
func typed(err error) error {
	var invalid *people.InvalidError
	if errors.As(err, &invalid) {
		return &usageError{invalid.Why}
	}
	return err
}

func roleWords(r people.Role) string {
	if r == people.Admin || r == people.Operator || r == people.Auditor {
		return "an " + string(r)
	}
	return "a " + string(r)
}

func parseAddresses(texts []string) (all []mail.Address, err error) {
	for _, text := range texts {
		a, err := mail.ParseAddress(text, true)
		if err != nil {
			return nil, &usageError{fmt.Sprintf("--address %q: %v", text, err)}
		}
		all = append(all, a)
	}
	return all, nil
}

type userListCmd struct {
	storeFlags
	JSON bool `name:"json" help:"One JSON object a person."`
}

// Help is shown by --help.
func (userListCmd) Help() string { return "Example:\n  postern user list" }

// Run lists.
func (c *userListCmd) Run(out output) error {
	ctx := context.Background()
	a, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer a.close()
	all, err := a.people.List(ctx, a.who())
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(out.out, all, func(p *people.Person) *people.Person { return p })
	}
	if len(all) == 0 {
		fmt.Fprintln(out.out, "Nobody may sign in yet: postern user add makes somebody, or the link that serve prints at its start.")
	}
	for _, p := range all {
		printPerson(out.out, p)
	}
	return nil
}

func printPerson(w io.Writer, p *people.Person) {
	var words []string
	for _, a := range p.Addresses {
		words = append(words, a.String())
	}
	for _, d := range p.Domains {
		words = append(words, "@"+d)
	}
	seen := "never signed in"
	if !p.Seen.IsZero() {
		seen = "last here " + p.Seen.Local().Format("2006-01-02 15:04")
	}
	proof := "no password"
	if p.Password {
		proof = "password"
	}
	if p.TOTP {
		proof += " and second factor"
	}
	fmt.Fprintf(w, "%-8s  %s  (%s)  %s; %s; %s\n", p.Role, p.Login, p.Name, strings.Join(words, " "), proof, seen)
}

type userChangeCmd struct {
	Login string `arg:"" help:"As user list has it."`
	storeFlags
	Role    string   `help:"admin, operator, auditor or user." placeholder:"ROLE"`
	Name    string   `help:"As the pages show it." placeholder:"NAME"`
	Address []string `help:"All their addresses, in place of those before (repeatable)." placeholder:"ADDRESS" sep:"none"`
	Domain  []string `help:"All their domains, in place of those before (repeatable); \"\" for all mail." placeholder:"DOMAIN" sep:"none"`
	Subject *string  `name:"oidc-subject" help:"By which name (the claim sub) the issuer of OpenID Connect speaks of them; \"\" for none." placeholder:"SUBJECT"`
	NoTOTP  bool     `name:"no-totp" help:"Take the second factor away: who lost it sets up another."`
}

// Help is shown by --help.
func (userChangeCmd) Help() string {
	return "Example:\n  postern user change ana@example.org --role admin\n  postern user change root --no-totp\n" +
		"  postern user change root --oidc-subject 24400320"
}

// Run changes.
func (c *userChangeCmd) Run(out output) error {
	addresses, err := parseAddresses(c.Address)
	if err != nil {
		return err
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
	if c.NoTOTP {
		if err := a.people.DropTOTP(ctx, a.who(), p.ID, ""); err != nil {
			return err
		}
		fmt.Fprintf(out.out, "%s has no second factor any more.\n", p.Login)
	}
	if c.Subject != nil {
		if err := a.people.LinkOpenID(ctx, a.who(), p.ID, *c.Subject); err != nil {
			return typed(err)
		}
		fmt.Fprintf(out.out, "%s signs in by OpenID Connect as %q.\n", p.Login, *c.Subject)
	}
	if c.Role == "" && c.Name == "" && c.Address == nil && c.Domain == nil {
		return nil
	}
	if c.Role != "" {
		p.Role = people.Role(c.Role)
	}
	if c.Name != "" {
		p.Name = c.Name
	}
	if c.Address != nil {
		p.Addresses = addresses
	}
	if c.Domain != nil {
		p.Domains = slices.DeleteFunc(c.Domain, func(d string) bool { return d == "" })
	}
	if p, err = a.people.Change(ctx, a.who(), *p); err != nil {
		return typed(err)
	}
	printPerson(out.out, p)
	return nil
}

type userPasswdCmd struct {
	Login string `arg:"" help:"As user list has it."`
	storeFlags
}

// Help is shown by --help.
func (userPasswdCmd) Help() string {
	return "Example:\n  postern user passwd ana@example.org\n  postern user passwd ana@example.org < password-file"
}

// Run sets the password.
func (c *userPasswdCmd) Run(out output) error {
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
	password, err := readPassword(out.err)
	if err != nil {
		return err
	}
	if password == "" {
		return errors.New("no password was given: write it to standard input")
	}
	if err := a.people.SetPassword(ctx, a.who(), p.ID, "", password); err != nil {
		return typed(err)
	}
	fmt.Fprintf(out.out, "%s has a new password and is signed out everywhere.\n", p.Login)
	return nil
}

type userRemoveCmd struct {
	Logins []string `arg:"" name:"login" help:"As user list has them."`
	storeFlags
}

// Help is shown by --help.
func (userRemoveCmd) Help() string { return "Example:\n  postern user remove ana@example.org" }

// Run removes.
func (c *userRemoveCmd) Run(out output) error {
	ctx := context.Background()
	a, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer a.close()
	failed := false
	for _, login := range c.Logins {
		p, err := a.people.Get(ctx, a.who(), login)
		if err == nil {
			err = a.people.Remove(ctx, a.who(), p.ID)
		}
		failed = report(out, false, login, "removed", err) || failed
	}
	if failed {
		return errQuiet
	}
	return nil
}
