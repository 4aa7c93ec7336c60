package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// versionCmd prints what this is.
type versionCmd struct{}

// Help is shown by --help.
func (versionCmd) Help() string { return "Example:\n  postern version" }

// Run prints it.
func (versionCmd) Run(out output) error {
	_, err := fmt.Fprintf(out.out, "postern %s %s %s/%s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

// release is the version of a released program: the linker puts it here (packaging/release.sh).
var release string

// version is that of the release or the module, or of the commit that it was built from.
func version() string {
	if release != "" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return s.Value[:12]
		}
	}
	if info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return info.Main.Version
}
