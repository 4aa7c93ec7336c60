# make prints what there is.
SHELL := /bin/bash
GO ?= go
# How long each fuzz target runs, and how often the gateway is killed.
T ?= 30s
N ?= 100

help: ## what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t12

demo: ## the gateway on loopback with sample mails: what became of each, and why; until Ctrl-C
	@$(GO) run ./cmd/postern demo

test: ## install what the tests need, then run all of them
	@testkit/install.sh
	@POSTERN_SKIPPED=$$(mktemp); export POSTERN_SKIPPED; status=0; \
	$(GO) test -race -shuffle=on -pgo=off -timeout 30m ./... || status=$$?; \
	sort -u "$$POSTERN_SKIPPED" >&2; rm -f "$$POSTERN_SKIPPED"; exit $$status

lint: ## vet, staticcheck, gosec (reasons in testkit/gosec.txt), formatting, modules; known vulnerabilities
	@test -z "$$(gofmt -l . | tee /dev/stderr)"
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) mod verify
	$(GO) mod tidy -diff
	@bin=$$(mktemp -d); status=0; if GOBIN=$$bin $(GO) install github.com/securego/gosec/v2/cmd/gosec@v2.30.0; then GOSEC=$$bin/gosec testkit/gosec.sh; status=$$?; \
	else echo "gosec: cannot be had here; not checked" >&2; fi; rm -rf "$$bin"; exit $$status
	@bin=$$(mktemp -d); status=1; GOBIN=$$bin $(GO) install golang.org/x/vuln/cmd/govulncheck@v1.9.0 && { $$bin/govulncheck ./...; status=$$?; }; \
	rm -rf "$$bin"; case $$status in 0) ;; 3) exit 1 ;; *) echo "govulncheck: its database cannot be had here; not checked" >&2 ;; esac

fuzz: ## every fuzz target for T each (make fuzz T=10m)
	@testkit/fuzz.sh $(T)

crash: ## kill -9 at N random instants under load; nothing answered 250 may be missing
	$(GO) test ./cmd/postern -run TestD03_Crash -count=1 -v -timeout 60m -crash.kills=$(N)

assurance: ## the long suites (KILLS=500 MESSAGES=100000 …), lint, then all tests; writes docs/assurance.md
	@testkit/install.sh
	@testkit/assurance.sh

interop: ## Exim and OpenSMTPD, fetched and unpacked, and Postfix, swaks, smtp-source: before us and behind us
	@testkit/install.sh
	$(GO) test ./cmd/postern -run TestP11_ -count=1 -v -timeout 15m -interop

bench: ## benchmarks of the parts, then the whole gateway beside a bare pass-through
	$(GO) test -run '^$$' -bench . -benchtime 100ms -benchmem -timeout 15m ./...
	$(GO) run ./bench

profile: ## take a new profile for the compiler (cmd/postern/default.pgo), on an idle machine
	@dir=$$(mktemp -d); $(GO) run ./bench -profile $$dir && \
	$(GO) tool pprof -proto $$dir/small.cpu.pprof $$dir/mix.cpu.pprof > $$dir/both && mv $$dir/both cmd/postern/default.pgo; \
	status=$$?; rm -rf "$$dir"; exit $$status

screenshots: ## make the pictures in docs/images, with the installed Chromium
	@mkdir -p docs/images
	$(GO) test ./web -run TestScreenshots -count=1 -shots $(CURDIR)/docs/images

release: ## the static program, its bill of materials and their hashes, in dist/ (packaging/release.sh)
	@packaging/release.sh

deb: release ## the Debian package, in dist/
	@packaging/deb.sh

reproducible: ## build release and package of the commit twice, in two places, and compare the bytes
	@packaging/reproducible.sh

image: release ## the files of the container image, in dist/rootfs (packaging/Containerfile)
	@packaging/rootfs.sh

rules: ## write docs/rules.md from the vocabulary
	$(GO) test ./cmd/postern -run TestRulesPage -update

api: ## write docs/openapi.json and the calls in docs/api.md from the code
	$(GO) test ./web -run TestAPIDescription -update

.PHONY: help demo test lint fuzz crash assurance interop bench profile screenshots release deb reproducible image rules api
.DEFAULT_GOAL := help
