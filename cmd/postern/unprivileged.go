package main

import (
	"log/slog"
	"os"
	"syscall"

	"postern/store"
)

// ownFiles is the umask of the gateway: what it makes is its own user's alone.
const ownFiles = 0o077

// giveUpRoot makes a gateway that was started by root, once its ports are open, the user who owns
// the data folder (P-08). Where root owns it, or it is not there yet, the gateway stays root: in a
// container that may be meant.
func giveUpRoot(data string, log *slog.Logger) error {
	syscall.Umask(ownFiles)
	if os.Geteuid() != 0 {
		return nil
	}
	if err := store.AsOwner(data); err != nil {
		return err
	}
	if uid := os.Geteuid(); uid != 0 {
		log.Info("started by root: from here on the owner of the data folder", "uid", uid, "data", data)
		return nil
	}
	log.Warn("running as root: a flaw in Postern would be root's; start it as a user of its own (postern.service), or give the data folder to one (chown -R), whom it then becomes", "data", data)
	return nil
}
