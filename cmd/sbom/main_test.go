package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"regexp"
	"runtime/debug"
	"slices"
	"testing"
)

// The bill names everything that a program says it is made of, twice the same.
func TestP07_BillOfMaterials(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var one, two bytes.Buffer
	for _, to := range []*bytes.Buffer{&one, &two} {
		if err := write(to, self, "1.2.3", ""); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(one.Bytes(), two.Bytes()) {
		t.Error("the same program has two bills")
	}
	var b bill
	if err := json.Unmarshal(one.Bytes(), &b); err != nil {
		t.Fatal(err)
	}
	if b.Format != "CycloneDX" || b.Spec != "1.6" || b.Metadata.Component.PURL != "pkg:golang/postern@1.2.3" || len(b.Metadata.Component.Hashes) != 1 {
		t.Errorf("%+v", b)
	}
	if !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(b.Metadata.Component.Hashes[0].Content) {
		t.Errorf("%+v", b.Metadata.Component.Hashes)
	}
	if err := write(&one, "main_test.go", "", ""); err == nil {
		t.Error("a text has a bill")
	}
}

// A module that is replaced is named by what stands in its place.
func TestP07_BillNamesWhatIsInIt(t *testing.T) {
	b := billOf(&debug.BuildInfo{GoVersion: "go1.26.9", Main: debug.Module{Path: "postern", Version: "(devel)"},
		Deps:     []*debug.Module{{Path: "a.example/a", Version: "v1.0.0", Sum: "h1:x="}, {Path: "a.example/b", Version: "v1.0.0", Replace: &debug.Module{Path: "b.example/fork", Version: "v1.1.0+incompatible"}}},
		Settings: []debug.BuildSetting{{Key: "CGO_ENABLED", Value: "0"}, {Key: "vcs.time", Value: "now"}}}, "")
	var got []string
	for _, c := range b.Components {
		got = append(got, c.PURL)
	}
	want := []string{"pkg:golang/std@1.26.9", "pkg:golang/a.example/a@v1.0.0", "pkg:golang/b.example/fork@v1.1.0%2Bincompatible"}
	if !slices.Equal(got, want) || !slices.Equal(b.Dependencies[0].On, want) || b.Components[1].Properties[0].Value != "h1:x=" {
		t.Errorf("%v\n%+v", got, b.Dependencies)
	}
	if len(b.Metadata.Properties) != 1 || b.Metadata.Component.Version != "(devel)" {
		t.Errorf("%+v", b.Metadata)
	}
}

// The provenance is about the same bytes, and names the commit and every module.
func TestP07_Provenance(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := write(&out, self, "1.2.3", "0123456789abcdef"); err != nil {
		t.Fatal(err)
	}
	var s statement
	if err := json.Unmarshal(out.Bytes(), &s); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(text)
	if s.Type != "https://in-toto.io/Statement/v1" || s.PredicateType != "https://slsa.dev/provenance/v1" || s.Subject[0].Digest["sha256"] != hex.EncodeToString(sum[:]) {
		t.Errorf("%+v", s)
	}
	d := s.Predicate.Definition
	if d.Resolved[0].Digest["gitCommit"] != "0123456789abcdef" || d.Parameters["version"] != "1.2.3" || d.Parameters["GOOS"] == "" || s.Predicate.Run.Builder.ID == "" {
		t.Errorf("%+v", d)
	}
}
