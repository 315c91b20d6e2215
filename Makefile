# One job, one target; CI runs the same ones (.ci/run). CONTRIBUTING.md explains each.

GO       ?= go
FUZZTIME ?= 10s
BENCH    ?= .
QEMU     ?= qemu-s390x
QEMU32   ?= qemu-arm

# Systems the module must build for: GOOS/GOARCH. linux/386 is 32 bits, linux/s390x big-endian.
PLATFORMS = linux/arm linux/386 linux/arm64 linux/s390x freebsd/amd64 freebsd/arm64 openbsd/amd64 openbsd/arm64 \
            netbsd/amd64 darwin/amd64 darwin/arm64 illumos/amd64
# Packages that build where there are no sockets, though some of what they have needs them.
SOCKETLESS = ./pfkey ./internal/racelab
# Packages whose tests run on an emulated big-endian machine: those that read and write bytes.
BYTES     = ./wire/... ./packet/... ./internal/ip/... ./ipsec/... ./sadb/... ./internal/spd/... ./packetport/...
# Options of make mutants, such as MUTANTS='-sample 200 -seed 7' or MUTANTS='-ops all'.
MUTANTS   =
# Packages whose expected outputs a flag -update writes anew.
GOLDEN    = ./wire ./internal/conform ./internal/conform/fidelity

.PHONY: check build test fmt vet lint race fuzz bench cover cross bigendian bits32 tidy golden proof mutants screenshots man demo clean

check: fmt vet lint test race

build:
	$(GO) build -o bin/ ./cmd/...

test:
	$(GO) test ./...

fmt:
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "gofmt would change:"; echo "$$unformatted"; exit 1; fi

vet:
	$(GO) vet ./...

lint:
	$(GO) tool staticcheck ./...
	$(GO) tool nilness ./...
	@unreached=$$($(GO) tool deadcode -test ./...); if [ -n "$$unreached" ]; then echo "reached by no command and no test:"; echo "$$unreached"; exit 1; fi

# Programs that tests start would each wait a second at their end for races yet to come.
race:
	GORACE=atexit_sleep_ms=10 $(GO) test -race ./...

fuzz:
	bash .ci/fuzz $(FUZZTIME)

bench:
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem ./...

cover:
	$(GO) test -coverpkg=./... -coverprofile=cover.out ./...
	$(GO) tool cover -func=cover.out | tail -n 1

cross:
	@set -e; for p in $(PLATFORMS); do \
		echo "$$p: build, vet"; \
		GOOS=$${p%/*} GOARCH=$${p#*/} CGO_ENABLED=0 $(GO) build ./...; \
		GOOS=$${p%/*} GOARCH=$${p#*/} CGO_ENABLED=0 $(GO) vet ./...; \
	done
	GOOS=js GOARCH=wasm $(GO) build $(SOCKETLESS)

bigendian:
	GOARCH=s390x CGO_ENABLED=0 $(GO) test -exec $(QEMU) $(BYTES)

bits32:
	GOARCH=arm CGO_ENABLED=0 $(GO) test -exec $(QEMU32) $(BYTES)

tidy:
	$(GO) mod tidy -diff
	$(GO) mod verify

demo:
	$(GO) run ./cmd/pfkeyd demo

proof:
	bash proof/check
	$(GO) test ./internal/racelab -run TestEverySchedule -all

golden:
	$(GO) test $(GOLDEN) -update

mutants:
	for kernel in freebsd illumos kame linux netbsd openbsd policyfile shared; do \
		$(GO) run ./internal/mutants -kernel $$kernel $(MUTANTS) || exit; \
	done

screenshots:
	bash .ci/live-page docs/img

man:
	mkdir -p man
	$(GO) run ./cmd/pfkeyd man man
	$(GO) run ./cmd/ipsecinject man man
	cp ipseckey/ipseckey.8 man/

clean:
	rm -rf bin man
	rm -f cover.out *.test *.prof
