package main

import (
	"context"
	"fmt"
	"log/slog"

	"postern/people"
	"postern/store"
)

// openPeople opens the room of who may sign in, as the configuration has it.
func openPeople(ctx context.Context, cfg *Config, db *store.DB, log *slog.Logger) (*people.Store, error) {
	s, err := people.Open(ctx, people.Options{DB: db, Log: log, Origin: cfg.Web.Origin, Rights: rightsOf(cfg), Subaddress: cfg.Web.Subaddress,
		AdminTOTP: cfg.Web.AdminTOTP == "required", MailSignIn: cfg.Web.MailSignIn})
	if err != nil {
		return nil, fmt.Errorf("people: %w", err)
	}
	return s, nil
}

// rightsOf is what users may do with own held mail: what is configured, over the defaults.
func rightsOf(cfg *Config) people.Rights {
	rights := people.DefaultRights()
	words := map[string]people.Right{"none": people.RightNone, "see": people.RightSee, "ask": people.RightAsk, "release": people.RightRelease}
	for class, word := range cfg.Web.Rights {
		rights[class] = words[word] // what is no word gives nothing
	}
	return rights
}
