# Everything a developer types. "make" alone lists the targets.

GO       ?= go
PREFIX   ?= /usr/local
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
GOFLAGS  += -trimpath
LDFLAGS  := -w -X github.com/crtrace/crtrace/cmd/internal/cli.version=$(VERSION)
FUZZTIME ?= 30s
N        ?= 100
GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

export CGO_ENABLED = 0

.DEFAULT_GOAL := help
.PHONY: help build demo install test e2e stress programs fuzz bench lint fmt check cover dist presubmit clean

help: ## show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z][a-z0-9-]*:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build ./crtrace, one static file
	$(GO) build $(GOFLAGS) -ldflags '$(LDFLAGS)' -o crtrace ./cmd/crtrace

demo: build ## build, then checkpoint, kill and restore a counting program
	CRTRACE=./crtrace sh tests/demo.sh

install: build ## install into PREFIX (default /usr/local)
	install -D -m 0755 crtrace $(DESTDIR)$(PREFIX)/bin/crtrace

test: ## run all tests: units, and checkpoints of real programs
	$(GO) vet ./...
	$(GO) test -timeout 25m -count=1 -p 1 ./...

e2e: ## run only the checkpoints of real programs, telling each
	$(GO) test -timeout 25m -count=1 -v ./tests

stress: ## checkpoint and restore N times (N=100)
	CRTRACE_TEST_STRESS=$(N) $(GO) test -timeout 10h -count=1 -v -run 'TestStress' ./tests

programs: ## try programs of the real world: servers, builds, terminals, MPI (as root: ARGS=-install)
	$(GO) run ./tests/programs $(ARGS)

fuzz: ## fuzz every parser for FUZZTIME (30s) each
	@set -e; for pkg in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "$$pkg $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; \
	done

bench: ## run the benchmarks
	$(GO) test -run '^$$' -bench . -benchmem ./...

lint: ## run golangci-lint (the first time it is compiled, which takes minutes)
	$(GO) run $(GOLANGCI) run ./...

fmt: ## format all Go files
	gofmt -s -w cmd parasite regs restore snapshot tests tracer

check: ## complain about files that are not formatted
	@files=$$(gofmt -s -l cmd parasite regs restore snapshot tests tracer); \
	if [ -n "$$files" ]; then echo "not formatted:"; echo "$$files"; exit 1; fi

cover: ## measure the coverage of the tests, into cover/
	mkdir -p cover
	$(GO) test -count=1 -coverpkg=./... -coverprofile=cover/units.out ./...
	$(GO) tool cover -html=cover/units.out -o cover/units.html
	$(GO) tool cover -func=cover/units.out | tail -1

dist: build ## make dist/crtrace-VERSION-linux-amd64.tar.gz and its checksum
	mkdir -p dist
	tar --owner=0 --group=0 --numeric-owner -czf dist/crtrace-$(VERSION)-linux-amd64.tar.gz crtrace LICENSE README.md
	cd dist && sha256sum crtrace-$(VERSION)-linux-amd64.tar.gz > crtrace-$(VERSION)-linux-amd64.tar.gz.sha256

presubmit: check lint test ## what has to pass before a change is sent

clean: ## remove what the targets above have made
	rm -rf crtrace dist cover
