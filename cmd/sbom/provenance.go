package main

import (
	"encoding/json"
	"io"
	"path/filepath"
	"runtime/debug"
)

// A statement says what a program was made from and how (in-toto Statement v1 with SLSA provenance
// v1). It is no proof by itself: it is signed with the sums of the release.
type statement struct {
	Type          string     `json:"_type"`
	Subject       []artifact `json:"subject"`
	PredicateType string     `json:"predicateType"`
	Predicate     predicate  `json:"predicate"`
}

type artifact struct {
	Name   string            `json:"name,omitempty"`
	URI    string            `json:"uri,omitempty"`
	Digest map[string]string `json:"digest"`
}

type predicate struct {
	Definition definition `json:"buildDefinition"`
	Run        run        `json:"runDetails"`
}

type definition struct {
	BuildType  string            `json:"buildType"`
	Parameters map[string]string `json:"externalParameters"`
	Resolved   []artifact        `json:"resolvedDependencies"`
}

type run struct {
	Builder struct {
		ID string `json:"id"`
	} `json:"builder"`
}

// provenance prints the statement about a program that was built from a commit.
func provenance(w io.Writer, file, sum, commit, version string, info *debug.BuildInfo) error {
	s := statement{Type: "https://in-toto.io/Statement/v1", PredicateType: "https://slsa.dev/provenance/v1",
		Subject: []artifact{{Name: filepath.Base(file), Digest: map[string]string{"sha256": sum}}}}
	s.Predicate.Definition = definition{BuildType: "packaging/release.sh",
		Parameters: map[string]string{"version": version, "go": info.GoVersion},
		Resolved:   []artifact{{URI: "git+" + info.Main.Path, Digest: map[string]string{"gitCommit": commit}}}}
	for _, set := range info.Settings {
		s.Predicate.Definition.Parameters[set.Key] = set.Value
	}
	for _, m := range info.Deps {
		for m.Replace != nil {
			m = m.Replace
		}
		s.Predicate.Definition.Resolved = append(s.Predicate.Definition.Resolved, artifact{URI: module("library", m.Path, m.Version).PURL, Digest: map[string]string{"dirHash1": m.Sum}})
	}
	s.Predicate.Run.Builder.ID = "packaging/release.sh"
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(s)
}
