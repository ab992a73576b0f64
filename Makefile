# SPDX-License-Identifier: EUPL-1.2
# make          builds the one binary
# make fetch    loads all modules and the tool of 'make check'
# make test     the tests: Go, git and make are all they need, not root
# make check    formatting, vet, staticcheck, the house's rules, generated files current
# make sim      the simulator: 300 seeds, or one: make sim SEED=17
# make e2e      the slower ring: browser, strace, full disk; installs what it needs, wants root
# make e2e-net  bad networks: sites in namespaces, 35 minutes, wants root; the short form: make e2e-net SHORT=1
# make bench    prints figures, each beside how it was done before; fails on none; takes a quarter of an hour
# make soak     the demonstration again and again, with other seeds
# make demo     three sites on this machine

GO     ?= go
SEED   ?=
SEEDS  ?= 300
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
export CGO_ENABLED = 0

.PHONY: all fetch test check sim e2e e2e-net bench soak demo fuzz
all:
	$(GO) build -trimpath -o holdfast ./cmd/holdfast

fetch:
	$(GO) mod download
	$(GO) run $(STATICCHECK) -version

test:
	$(GO) test ./...

check:
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags e2e ./e2e/... ./sheet ./driver/oidc
	$(GO) run $(STATICCHECK) ./...
	$(GO) test -count=1 -run 'TestImports|TestGround|TestForeign|TestNoGrab|TestDomains|TestEvery|TestFunctions' .
	$(GO) mod verify
	$(GO) mod tidy -diff
	$(GO) generate ./... && git diff --exit-code

sim:
ifneq ($(SEED),)
	$(GO) test ./sim -count=1 -v -run 'TestSeeds' -seed $(SEED)
else
	$(GO) test ./sim -count=1 -v -timeout 40m -run 'TestSeeds|TestPlanted' -seeds $(SEEDS)
endif

e2e:
	bash e2e/install.sh
	$(GO) test -tags e2e -p 1 -count=1 -timeout 40m -v ./e2e ./sheet ./driver/oidc

# HOLDFAST_E2E_BINARY=file tries another binary than one built from this tree.
e2e-net:
	$(GO) test -tags e2e -count=1 -timeout 60m -v $(if $(SHORT),-short) ./e2e/net

bench: all
	./holdfast bench all --json
	./holdfast bench lines --json
	$(GO) test -run '^$$' -bench . -benchtime 1s ./eventlog/... ./readmodel ./directory ./keyring ./alarm ./portal ./site

soak: all
	for seed in 1 2 3 4 5 6 7 8 9 10; do ./holdfast demo --people 5000 --seed $$seed --exit --json || exit 1; done

demo:
	$(GO) run ./cmd/holdfast demo

fuzz:
	@for t in $$(grep -rlE '^func Fuzz' --include=*_test.go . ); do \
	  for f in $$(grep -oE '^func Fuzz[A-Za-z]+' $$t | cut -c6-); do \
	    echo "== $$(dirname $$t) $$f"; $(GO) test $$(dirname $$t) -run '^$$' -fuzz "^$$f$$" -fuzztime 10s || exit 1; done; done
