// Command sbom prints the bill of materials of a compiled Go program as CycloneDX 1.6 JSON: what
// the program itself says it was built from (runtime/debug.BuildInfo). It has no time and no random
// number in it, so that the same program has the same bill. With -commit it prints the provenance
// instead: what the program was made from, and how.
package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
)

func main() {
	version := flag.String("version", "", "version of the program")
	commit := flag.String("commit", "", "print the provenance, of a program built from this commit")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: sbom [-version V] [-commit HASH] PROGRAM")
		os.Exit(2)
	}
	if err := write(os.Stdout, flag.Arg(0), *version, *commit); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

// A bill is a CycloneDX document (ECMA-424).
type bill struct {
	Format       string       `json:"bomFormat"`
	Spec         string       `json:"specVersion"`
	Version      int          `json:"version"`
	Metadata     metadata     `json:"metadata"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

type metadata struct {
	Component  component  `json:"component"`
	Properties []property `json:"properties,omitempty"`
}

type component struct {
	Type       string     `json:"type"`
	Ref        string     `json:"bom-ref"`
	Name       string     `json:"name"`
	Version    string     `json:"version"`
	PURL       string     `json:"purl"`
	Hashes     []hash     `json:"hashes,omitempty"`
	Properties []property `json:"properties,omitempty"`
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type dependency struct {
	Ref string   `json:"ref"`
	On  []string `json:"dependsOn,omitempty"`
}

// write prints the bill of the program in file, or its provenance.
func write(w io.Writer, file, version, commit string) error {
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		return err
	}
	f, err := os.Open(filepath.Clean(file))
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return err
	}
	digest := hex.EncodeToString(sum.Sum(nil))
	if commit != "" {
		return provenance(w, file, digest, commit, version, info)
	}
	b := billOf(info, version)
	b.Metadata.Component.Hashes = []hash{{"SHA-256", digest}}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(b)
}

// billOf lists the modules that are in a program, and the standard library.
func billOf(info *debug.BuildInfo, version string) *bill {
	if version == "" {
		version = info.Main.Version
	}
	main := module("application", info.Main.Path, version)
	goVersion := strings.TrimPrefix(info.GoVersion, "go")
	std := module("library", "std", goVersion)
	b := &bill{Format: "CycloneDX", Spec: "1.6", Version: 1, Metadata: metadata{Component: main}, Components: []component{std}}
	for _, s := range info.Settings {
		if strings.HasPrefix(s.Key, "GO") || s.Key == "CGO_ENABLED" || s.Key == "-tags" || s.Key == "-trimpath" {
			b.Metadata.Properties = append(b.Metadata.Properties, property{"go:build:" + s.Key, s.Value})
		}
	}
	all := dependency{Ref: main.Ref, On: []string{std.Ref}}
	for _, m := range info.Deps {
		for m.Replace != nil {
			m = m.Replace
		}
		c := module("library", m.Path, m.Version)
		if m.Sum != "" { // of the module's files, as go.sum has it
			c.Properties = []property{{"go:sum", m.Sum}}
		}
		b.Components = append(b.Components, c)
		all.On = append(all.On, c.Ref)
	}
	b.Dependencies = []dependency{all}
	return b
}

// module names a Go module (purl-spec, type golang).
func module(kind, path, version string) component {
	purl := "pkg:golang/" + path + "@" + url.QueryEscape(version)
	return component{Type: kind, Ref: purl, Name: path, Version: version, PURL: purl}
}
