// Command postern is a filtering mail gateway. It stands in front of a mail server, lets
// filters gather facts about each message and rules decide, relays clean mail and holds the
// rest. This package is the front door: it reads the configuration, builds the rooms and
// joins them; it is the only place that knows everyone.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"
)

// Exit codes of every command.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// cli is the table of commands.
type cli struct {
	Demo     demoCmd     `cmd:"" help:"All of it on loopback: a sample internal server, sample mails through the real gateway; shows what became of each."`
	Serve    serveCmd    `cmd:"" help:"Run the gateway."`
	Try      tryCmd      `cmd:"" help:"Judge messages from files, offline of SMTP; show every fact and each rule's say."`
	Check    checkCmd    `cmd:"" help:"Check configuration and rules; show what each rule needs and its earliest reply; ask the neighbours."`
	Doctor   doctorCmd   `cmd:"" help:"Ask the neighbours (internal servers, DNS, clamd, certificates, clock, disk), and say what to do."`
	Rules    rulesCmd    `cmd:"" help:"What rules can be made of."`
	Held     heldCmd     `cmd:"" help:"Held mail: list, show, raw, release, delete."`
	List     listCmd     `cmd:"" help:"What is allowed and denied, by address, domain, network or mailing list: add, remove, show."`
	Greylist greylistCmd `cmd:"" help:"Strangers whose mail waits until they come back: list, pass."`
	Log      logCmd      `cmd:"" help:"What became of a message, and why: search, show."`
	Audit    auditCmd    `cmd:"" help:"Who did what with held mail, rules and accounts: list, verify."`
	Digest   digestCmd   `cmd:"" help:"Mail to users about what is held for them: show, send, and who gets it how often."`
	Backup   backupCmd   `cmd:"" help:"Save held mail, journal, lists and accounts to one file, while the gateway runs."`
	Restore  restoreCmd  `cmd:"" help:"Bring a backup back into an empty folder, and look through it."`
	User     userCmd     `cmd:"" help:"Who may sign in, and the tokens of programs: add, list, change, passwd, remove, token."`
	Version  versionCmd  `cmd:"" help:"Print the version."`
}

// output is where a command prints.
type output struct{ out, err io.Writer }

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run executes one command line and returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	var c cli
	code, nothing := -1, len(args) == 0
	help := stdout
	if nothing {
		help = stderr
	}
	parser, err := newParser(&c, kong.Writers(help, stderr), kong.Exit(func(n int) { code = n; panic(exitPanic{}) }))
	if err != nil {
		fmt.Fprintln(stderr, "postern:", err)
		return exitFailed
	}
	if nothing || args[0] == "help" {
		args = append(args[min(1, len(args)):], "--help")
	}
	ctx, err := parse(parser, args)
	if code >= 0 { // --help printed and asked to exit
		if nothing {
			return exitUsage
		}
		return code
	}
	if err != nil {
		fmt.Fprintf(stderr, "postern: %v\nSee %s --help.\n", err, commandOf(err))
		return exitUsage
	}
	ctx.Bind(output{stdout, stderr})
	if err := ctx.Run(); err != nil {
		var usage *usageError
		if errors.As(err, &usage) {
			fmt.Fprintf(stderr, "postern: %v\nSee %s --help.\n", err, called(ctx))
			return exitUsage
		}
		if !errors.Is(err, errQuiet) {
			fmt.Fprintln(stderr, "postern:", err)
		}
		return exitFailed
	}
	return exitDone
}

// newParser makes the parser of the command line.
func newParser(c *cli, o ...kong.Option) (*kong.Kong, error) {
	return kong.New(c, append(o, kong.Name("postern"),
		kong.Description("A filtering mail gateway: in front of your mail server, it checks each message, relays clean mail and holds the rest, and says why.\n\nExample:\n  postern demo --once"),
		kong.Vars{"default_file": defaultFile, "states": heldStates, "classes": heldClasses, "results": logResults, "entry_forms": entryForms, "scopes": scopeNames()},
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}))...)
}

// commandOf names the command whose parsing failed.
func commandOf(err error) string {
	var p *kong.ParseError
	if errors.As(err, &p) && p.Context != nil {
		return called(p.Context)
	}
	return "postern"
}

// called is the command as it is typed, without its arguments.
func called(ctx *kong.Context) string {
	name, _, _ := strings.Cut("postern "+ctx.Command(), " <")
	return strings.TrimSpace(name)
}

// exitPanic unwinds kong's parser, which expects its Exit not to return.
type exitPanic struct{}

func parse(p *kong.Kong, args []string) (ctx *kong.Context, err error) {
	defer func() {
		if v := recover(); v != nil {
			if _, ok := v.(exitPanic); !ok {
				panic(v)
			}
		}
	}()
	return p.Parse(args)
}

// errQuiet is a failure that was already told.
var errQuiet = errors.New("failed")

// A usageError is a command line that asks for something that cannot be.
type usageError struct{ msg string }

func (e *usageError) Error() string { return e.msg }
