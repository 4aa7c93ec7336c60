package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"postern/policies"
	"postern/store"
)

// applyFlags are those of apply and rollback.
type applyFlags struct {
	settings
	Note  string   `help:"Why, for the history."`
	Since Duration `help:"Decide past mail again that is not older than this, for the plan; 0 for none." default:"30d"`
	Force bool     `help:"Though tests beside the rules fail. The history says so, and a restart takes such rules too."`
	JSON  bool     `name:"json" help:"As JSON."`
}

// An applied is what came of apply or rollback.
type applied struct {
	*rulePlan
	N       int64  `json:"n,omitempty"`       // in the history
	Running bool   `json:"running"`           // a gateway runs on this data, and has taken the rules
	Refused string `json:"refused,omitempty"` // why it has not; the set before stands there again
}

// answerTime is how long a running gateway may take for its answer.
const answerTime = 30 * time.Second

// storeTime is how long a look into the data folder may take.
const storeTime = 2 * time.Minute

// rulesApplyCmd puts a folder of rules in force.
type rulesApplyCmd struct {
	applyFlags
	Dir string `arg:"" help:"Folder of rule files." type:"path"`
}

// Help is shown by --help.
func (rulesApplyCmd) Help() string {
	return "Example:\n  postern rules plan new && sudo postern rules apply --note \"hold invoices with macros\" new\n\n" +
		"The folder in force is replaced in one step, so that after a crash the old set or the new one stands there, whole. " +
		"The running gateway takes it within a second; what it refuses is put back."
}

// Run applies.
func (c *rulesApplyCmd) Run(out output) error {
	cfg, err := c.read()
	if err != nil {
		return err
	}
	if cfg.Rules == "" {
		return errors.New("rules apply: the configuration names no folder for rules: set it (rules: /etc/postern/rules) and restart once")
	}
	p, err := planFolder(cfg, c.Dir, c.Since)
	if err != nil {
		return err
	}
	return c.carryOut(out, cfg, p, policies.Applied, c.Note)
}

// rulesRollbackCmd puts an earlier version in force again.
type rulesRollbackCmd struct {
	applyFlags
	N int64 `arg:"" name:"n" help:"Version, as postern rules history numbers them."`
}

// Help is shown by --help.
func (rulesRollbackCmd) Help() string {
	return "Example:\n  postern rules history && sudo postern rules rollback 7\n\n" +
		"It goes the same way as apply, tests and all, and becomes a new version. Lists that only the folder in force has stay as they are."
}

// Run rolls back.
func (c *rulesRollbackCmd) Run(out output) error {
	cfg, err := c.read()
	if err != nil {
		return err
	}
	if cfg.Rules == "" {
		return errors.New("rules rollback: the configuration names no folder for rules")
	}
	var v *policies.Version
	err = withHistory(cfg, func(ctx context.Context, h *policies.Store) (err error) {
		v, err = h.Version(ctx, c.N)
		return err
	})
	if err != nil {
		return fmt.Errorf("rules rollback: %w (postern rules history lists them)", err)
	}
	p, err := newPlan(cfg, fmt.Sprintf("version %d", v.N), v.Files, c.Since)
	if err != nil {
		return err
	}
	note := c.Note
	if note == "" {
		note = fmt.Sprintf("back to version %d", v.N)
	}
	return c.carryOut(out, cfg, p, policies.Rollback, note)
}

// carryOut shows a plan and puts it in force, unless something speaks against it.
func (c *applyFlags) carryOut(out output, cfg *Config, p *rulePlan, how, note string) error {
	if !c.JSON {
		p.print(out.out)
	}
	if err := p.why(); err != nil && (!c.Force || len(p.Errors) > 0) {
		if c.JSON {
			_ = printObject(out.out, applied{rulePlan: p})
		}
		return err
	}
	done, err := p.putInForce(cfg, how, note)
	if err == nil && c.JSON {
		err = printObject(out.out, done)
	} else if err == nil {
		done.print(out)
	}
	if err == nil && done.Refused != "" {
		return fmt.Errorf("the running gateway refused the rules, and the set before stands there again: %s", done.Refused)
	}
	return err
}

func (d *applied) print(out output) {
	switch {
	case d.Refused != "":
	case d.Running:
		fmt.Fprintf(out.out, "In force as version %d. Connections that are open go on with the rules that they began with.\n", d.N)
	default:
		fmt.Fprintf(out.out, "In its place as version %d. No gateway runs on this data: the next one that starts takes it.\n", d.N)
	}
}

func (p *rulePlan) putInForce(cfg *Config, how, note string) (*applied, error) {
	return p.carryOut(atDisk{cfg}, cfg.Rules, whoami(), how, note)
}

// A placing is what rules are put in force with: a command's way to the data folder and to the
// gateway that may run on it, or the gateway itself.
type placing interface {
	history(use func(ctx context.Context, h *policies.Store) error) error
	// reload has a running gateway take the rule files with this print, and tells why it does not.
	reload(ctx context.Context, h *policies.Store, who, print string) (running bool, problem string, err error)
}

// carryOut records what is there, swaps the folder, records the new version, has the running
// gateway take it, and puts the old set back when that refuses.
func (p *rulePlan) carryOut(at placing, dir, who, how, note string) (*applied, error) {
	next := &policies.Version{Who: who, How: how, Note: note, Policy: p.Version, Rules: p.Rules.All,
		Print: p.files.Print(), Forced: p.Tests.Failed > 0, Files: p.own()}
	if err := recordFound(at, p.live); err != nil {
		return nil, err
	}
	if p.touches() {
		if err := policies.Swap(dir, p.files); err != nil {
			return nil, fmt.Errorf("the old rules stay in force: %w (who applies has to own the folder around %s: use sudo)", err, dir)
		}
	}
	done := &applied{rulePlan: p}
	err := at.history(func(ctx context.Context, h *policies.Store) (err error) {
		next.At = time.Now()
		if done.N, err = h.Record(ctx, next); err != nil {
			return fmt.Errorf("the rules are in their place, but not in the history: %w", err)
		}
		done.Running, done.Refused, err = at.reload(ctx, h, who, next.Print)
		return err
	})
	if err != nil || done.Refused == "" || len(p.live) == 0 {
		return done, err
	}
	return done, p.putBack(at, dir, who, done.N)
}

// putBack undoes what the gateway refused.
func (p *rulePlan) putBack(at placing, dir, who string, n int64) error {
	if err := policies.Swap(dir, p.live); err != nil {
		return fmt.Errorf("the gateway refused the rules, and they cannot be taken away again: %w", err)
	}
	return at.history(func(ctx context.Context, h *policies.Store) error {
		files := rulesOnly(p.live)
		back := &policies.Version{At: time.Now(), Who: who, How: policies.Rollback,
			Note: fmt.Sprintf("the gateway refused version %d", n), Print: files.Print(), Files: files}
		if _, err := h.Record(ctx, back); err != nil {
			return err
		}
		_, _, err := at.reload(ctx, h, who, back.Print)
		return err // it is well again, and says so
	})
}

// recordFound adds the rules in force to the history when somebody wrote them by hand since, so
// that a rollback leads back to them.
func recordFound(at placing, live policies.Files) error {
	files := rulesOnly(live)
	if len(files) == 0 {
		return nil
	}
	return at.history(func(ctx context.Context, h *policies.Store) error {
		return recordHand(ctx, h, files, &policies.Version{How: policies.Reloaded, Note: "found in the folder, changed by hand"})
	})
}

// recordHand records rule files unless they are those of the latest version.
func recordHand(ctx context.Context, h *policies.Store, files policies.Files, v *policies.Version) error {
	latest, err := h.Version(ctx, 0)
	if err != nil && !errors.Is(err, policies.ErrNotFound) {
		return err
	}
	v.Print, v.Files, v.At = files.Print(), files, time.Now()
	if err == nil && latest.Print == v.Print {
		return nil
	}
	_, err = h.Record(ctx, v)
	return err
}

// atDisk puts rules in force as a command does.
type atDisk struct{ cfg *Config }

func (a atDisk) history(use func(ctx context.Context, h *policies.Store) error) error {
	return withHistory(a.cfg, use)
}

func (a atDisk) reload(ctx context.Context, h *policies.Store, who, print string) (bool, string, error) {
	return order(ctx, a.cfg, h, &policies.Order{At: time.Now(), Who: who, What: policies.Reload, Arg: print})
}

// withHistory lets use work with the history of the rules.
func withHistory(cfg *Config, use func(ctx context.Context, h *policies.Store) error) error {
	return withStores(cfg, func(ctx context.Context, s *stores) error { return use(ctx, s.policies) })
}

// withStores opens the data folder as its owner, lets use work with it, and is who it was again.
func withStores(cfg *Config, use func(ctx context.Context, s *stores) error) (err error) {
	ctx, cancel := context.WithTimeoutCause(context.Background(), storeTime, errors.New("it takes too long: ask for less with --since"))
	defer cancel()
	if why := noStore(cfg.Data); why != "" {
		return fmt.Errorf("data folder %s: %s: name the gateway's with -c FILE or --data DIR", cfg.Data, why)
	}
	back, err := store.Lend(cfg.Data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, back()) }()
	s, err := openStores(ctx, cfg, slog.New(slog.DiscardHandler), false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	return use(ctx, s)
}

// order leaves an order for the running gateway and waits for its answer.
func order(ctx context.Context, cfg *Config, h *policies.Store, o *policies.Order) (running bool, problem string, err error) {
	if !store.Running(cfg.Data) {
		return false, "", nil
	}
	n, err := h.Order(ctx, o)
	if err != nil {
		return false, "", err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, answerTime, errors.New("the gateway gave no answer: look into its log"))
	defer cancel()
	answer, err := h.Await(ctx, n)
	if err != nil {
		return true, "", err
	}
	return true, answer.Problem, nil
}
