// Package people knows who may look at mail and act on it: persons with their role and
// addresses, how they prove who they are, and what they may do. Nobody is asked here what a
// message is.
package people

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/mail"
)

// A Role is what somebody is to Postern. Each gives permissions; what is not given is denied.
type Role string

// The roles. A user sees only mail to own addresses; the others see all mail, or that of their
// domains when they have some.
const (
	Admin    Role = "admin"
	Operator Role = "operator" // reviews mail for others
	Auditor  Role = "auditor"  // reads what became of mail and who did what, never the text of mail
	User     Role = "user"
)

// A Permission is one thing that somebody may do.
type Permission uint8

// The permissions.
const (
	SeeMail          Permission = iota // that mail is held, from whom, why
	ReadMail                           // the text of mail; audited
	Download                           // attachments and the raw message, as an encrypted zip
	Release                            // held mail to its recipients
	ReleaseDangerous                   // also of the classes virus and malformed
	Delete                             // held mail
	ReportSpam                         // says that it is spam
	Ask                                // for a release
	Approve                            // requests of others, or deny them
	AllowSender                        // entries of the lists, for recipients in own sight
	ReadJournal                        // what became of every message in own sight
	ReadOverview                       // numbers over all mail
	ReadRules                          // rules with hits, tests and history
	DraftRules                         // try rules
	ApplyRules                         // put rules in force, roll back, pin tests, reset breakers
	ReadAudit                          // who did what
	ManagePeople                       // accounts, roles, tokens of others
)

// All is the number of permissions.
const All = int(ManagePeople) + 1

// permissionNames are their names, as scopes of tokens have them.
func permissionNames() []string {
	return []string{"see", "read", "download", "release", "release-dangerous", "delete", "spam", "ask", "approve", "allow",
		"journal", "overview", "rules", "draft", "apply", "audit", "people"}
}

// String is the name of a permission, as scopes of tokens have it.
func (p Permission) String() string { return permissionNames()[p] }

// MarshalText gives its name.
func (p Permission) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (p *Permission) UnmarshalText(b []byte) (err error) {
	*p, err = ParsePermission(string(b))
	return err
}

// ParsePermission reads the name of a permission.
func ParsePermission(name string) (Permission, error) {
	if i := slices.Index(permissionNames(), name); i >= 0 {
		return Permission(i), nil
	}
	return 0, &InvalidError{"there is no permission " + strconv.Quote(name) + ": one of " + strings.Join(permissionNames(), ", ")}
}

// Roles are all of them.
func Roles() []Role { return []Role{Admin, Operator, Auditor, User} }

// may is what each role gives.
func may(r Role) []Permission {
	switch r {
	case Admin:
		return []Permission{SeeMail, ReadMail, Download, Release, ReleaseDangerous, Delete, ReportSpam, Approve, AllowSender, ReadJournal,
			ReadOverview, ReadRules, DraftRules, ApplyRules, ReadAudit, ManagePeople}
	case Operator:
		return []Permission{SeeMail, ReadMail, Download, Release, Delete, ReportSpam, Ask, Approve, AllowSender, ReadJournal, ReadOverview, ReadRules, DraftRules}
	case Auditor:
		return []Permission{SeeMail, ReadJournal, ReadOverview, ReadRules, ReadAudit}
	case User:
		return []Permission{SeeMail, ReadMail, Release, Delete, ReportSpam, Ask, AllowSender}
	}
	return nil
}

// A Right is what a user may do with own held mail of a class. Each includes the ones before.
type Right uint8

// The rights.
const (
	RightNone    Right = iota // does not see it
	RightSee                  // sees and reads it
	RightAsk                  // asks for its release
	RightRelease              // releases it
)

// Rights are a user's, by class of the held mail. What is missing is RightNone.
type Rights map[string]Right

// DefaultRights are those when nothing is configured: users release spam by themselves, ask for
// what a rule of the site or an impostor's name stopped, and see no malware.
func DefaultRights() Rights {
	return Rights{"spam": RightRelease, "policy": RightAsk, "spoof": RightAsk, "attachment": RightAsk, "undelivered": RightRelease, "malformed": RightNone, "virus": RightNone}
}

// A Person is one who may sign in.
type Person struct {
	ID        string         `json:"id"`
	Login     string         `json:"login"` // in lower case; users without a password have their address
	Name      string         `json:"name"`
	Role      Role           `json:"role"`
	Addresses []mail.Address `json:"addresses"`         // own ones and aliases: a user's sight
	Domains   []string       `json:"domains,omitempty"` // what admin, operator and auditor see; none: all
	Password  bool           `json:"password"`          // has one
	TOTP      bool           `json:"totp"`              // has a second factor
	Made      time.Time      `json:"made,omitzero"`
	Seen      time.Time      `json:"seen,omitzero"` // last sign-in
}

// Ways by which somebody acts, for the log of acts.
const (
	ByPage    = "page"
	ByToken   = "token"
	ByCommand = "command" // on the machine itself
	ByMail    = "mail"    // a reply to a digest
)

// An Actor is a person acting.
type Actor struct {
	Person
	By         string       // page token command mail
	From       netip.Addr   // where the request came from; zero: this machine
	Scopes     []Permission // of a token: narrows the role; nil: all of it
	Rights     Rights       // of a user
	Subaddress bool         // mail to user+anything@ is mail to user@
}

// May tells whether the actor has a permission at all; what it is for is up to Sees and Right.
// Who is administrator of some domains has no say in what holds for all of them.
func (a *Actor) May(p Permission) bool {
	if len(a.Domains) > 0 && (p == ManagePeople || p == ApplyRules) {
		return false
	}
	return slices.Contains(may(a.Role), p) && (a.Scopes == nil || slices.Contains(a.Scopes, p))
}

// Sees tells whether mail to this recipient is in the actor's sight.
func (a *Actor) Sees(to mail.Address) bool {
	only, all := a.Sight()
	if all {
		return true
	}
	address := strings.ToLower(to.String())
	domain := address[strings.LastIndexByte(address, '@')+1:]
	if slices.Contains(only, address) || slices.Contains(only, "@"+domain) {
		return true
	}
	main, _, tagged := strings.Cut(strings.ToLower(to.Local), "+")
	return a.Subaddress && a.Role == User && tagged && main != "" && slices.Contains(only, strings.ToLower(mail.Address{Local: main, Domain: domain}.String()))
}

// Sight is which recipients' mail the actor sees: addresses in lower case, and domains as
// "@example.org". all: everybody's. Nothing and not all: no mail at all. With Subaddress each
// address stands also for those with "+" and anything before its "@".
func (a *Actor) Sight() (only []string, all bool) {
	switch a.Role {
	case User:
		for _, x := range a.Addresses {
			only = append(only, strings.ToLower(x.String()))
		}
		return only, false
	case Admin, Operator, Auditor:
		for _, d := range a.Domains {
			only = append(only, "@"+strings.ToLower(d))
		}
		return only, len(only) == 0
	}
	return nil, false
}

// Right is what the actor may do with a copy of this class that is in sight.
func (a *Actor) Right(class string) Right {
	if a.Role == User {
		return a.Rights[class]
	}
	return RightRelease
}
