# The verbs of the project. `make help` lists them. Only Go is needed, except where a verb says otherwise.

GO        ?= go
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
FUZZTIME  ?= 30s
BENCHTIME ?= 1s
ROUNDS    ?= 5
ARGS      ?=
RUN       ?= .

# All packages. The one that takes longest begins first: the others are tested beside it.
ALL       = ./sbc ./...

# Rooms in which nothing runs beside anything else, in the program or in a test (a law that TestRoomsAloneHaveNoRaces holds): the race
# detector finds nothing there that it does not find where sbc uses them.
ALONE     = media/ice media/sdp nat policy/feed policy/geo policy/geo/pack policy/replay policy/toll \
            sbc/call sbc/config sbc/credentials sbc/dialog sbc/digest sbc/event sbc/exchange sbc/header sbc/message sbc/reason \
            sbc/registrar sbc/route sbc/scan sbc/silence sbc/transaction sbc/trunk sbc/tu/script sbc/userpart
RACED     = ./sbc $$($(GO) list ./... | grep -vxF -e sallyport $(ALONE:%=-e sallyport/%))

# What interop-web fetches.
SIPJS     = 0.21.2
SIPJS_SUM = abbf374bccf50fdd0f659e24dd70a83a0bad09553bd16fa4b6c94021053f66cb

# What build, test, interop and lint compile with is the same, so that each package is compiled once for all of them; the race
# detector alone needs cgo. What vet finds is found by lint.
SHIPPED   = CGO_ENABLED=0 $(GO)
TESTED    = $(SHIPPED) test -trimpath -vet off
# A program under the race detector sleeps for a second at its end, which each package's tests would, and each run of the program.
RACE      = GORACE='atexit_sleep_ms=50' $(GO) test -race

.DEFAULT_GOAL := build
.PHONY: build demo geo test race fuzz bench bench-peers bench-media soak interop interop-full interop-web lint clean help

build: ## build bin/sbc: static, reproducible, with its version inside
	$(SHIPPED) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/sbc ./cmd/sbc

demo: build ## real calls through the gate on loopback; ARGS=--once ends with a verdict
	bin/sbc demo $(ARGS)

geo: ## bin/countries.geo: the countries of Debian's tor-geoipdb in one file, its licence beside it (apt-get, dpkg-deb)
	@mkdir -p bin && rm -rf bin/tor-geoipdb && mkdir bin/tor-geoipdb
	cd bin/tor-geoipdb && apt-get -o APT::Sandbox::User=$$(id -un) download tor-geoipdb && dpkg-deb -x tor-geoipdb_*.deb .
	$(GO) run ./policy/geo/pack -o bin/countries.geo -licence bin/tor-geoipdb/usr/share/doc/tor-geoipdb/copyright \
	  bin/tor-geoipdb/usr/share/tor/geoip bin/tor-geoipdb/usr/share/tor/geoip6
	@rm -rf bin/tor-geoipdb

test: ## every test that needs no other program, then the short ones under the race detector
	$(TESTED) -timeout 20m $(ALL)
	@if [ "$$($(GO) env CGO_ENABLED)" = 1 ] && command -v "$$($(GO) env CC)" >/dev/null; then \
	  echo "$(RACE) -short -vet off -timeout 20m, without what has no goroutines"; $(RACE) -short -vet off -timeout 20m $(RACED); \
	else echo 'race detector: left out, it needs a C compiler (install gcc, then make race)'; fi

race: ## every test under the race detector (needs a C compiler)
	$(RACE) -timeout 30m $(ALL)

fuzz: ## every fuzz target, FUZZTIME each (default 30s)
	@grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -n1 dirname | sort -u | while read -r room; do \
	  for target in $$(grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$$room"/*_test.go | cut -d' ' -f2); do \
	    echo "== $$room $$target"; \
	    $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$room" </dev/null || exit 1; \
	  done; \
	done

bench: build ## benchmarks beside their floors, and beside Kamailio with rtpengine where these are installed (root)
	$(GO) test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) ./...
	@$(MAKE) --no-print-directory bench-peers

bench-peers: build ## the CPU of a call beside Kamailio with rtpengine, and of a registration beside Kamailio (root)
	$(TESTED) -tags interop -count 1 -timeout 20m -v -run '^TestBench' ./.ci/interop -args -bench

bench-media: build ## the relay beside raw system calls and rtpengine: CPU, delay, loss, memory, set-ups (root, 15 min); ROUNDS=1 is short
	.ci/install sip-tester iproute2 tshark util-linux rtpengine-daemon
	$(TESTED) -tags interop -count 1 -timeout 60m -v -run '^TestRelays$$' ./.ci/interop -args -bench -rounds $(ROUNDS)

soak: build ## two thousand calls at once with audio, over either back end, and two thousand phones for a day (root, five minutes)
	.ci/install sip-tester iproute2 tshark
	$(TESTED) -tags interop -count 1 -timeout 10m -v -run '^TestMediaSoak' ./.ci/interop -args -bench
	$(TESTED) -count 1 -timeout 30m -v -run '^(TestADayOfPhones|TestTenThousandCallsOnRealSockets|TestTwentyThousandPhonesAreThrottled)$$' ./sbc -args -full

interop: build ## the program between real peers in network namespaces (root); RUN=PATTERN picks cases
	.ci/install sip-tester iproute2 tshark kamailio kamailio-tls-modules nftables baresip-core linphone-cli fail2ban sipvicious prometheus dnsmasq-base
	$(TESTED) -tags interop -count 1 -timeout 15m -parallel 4 -v -run '$(RUN)' ./.ci/interop

interop-full: build ## every case of interop in every variant, at its full size (root, 40 min); RUN=PATTERN picks cases
	.ci/install sip-tester iproute2 tshark kamailio kamailio-tls-modules nftables baresip-core linphone-cli fail2ban sipvicious prometheus dnsmasq-base
	$(TESTED) -tags interop -count 1 -timeout 90m -parallel 4 -v -run '$(RUN)' ./.ci/interop -args -full

interop-web: build ## a telephone in a browser, headless Chromium with SIP.js from the npm registry (root, npm, 500 MB)
	.ci/install sip-tester iproute2 tshark kamailio kamailio-tls-modules nftables baresip-core linphone-cli fail2ban sipvicious chromium
	@command -v npm >/dev/null || .ci/install npm
	@rm -rf bin/web && mkdir -p bin/web
	cd bin/web && npm pack --silent sip.js@$(SIPJS) && echo '$(SIPJS_SUM)  sip.js-$(SIPJS).tgz' | sha256sum -c --quiet && tar -xzf sip.js-$(SIPJS).tgz
	$(TESTED) -tags interop -count 1 -timeout 10m -v -run '^TestWeb$$' ./.ci/interop -args -web $(CURDIR)/bin/web/package

lint: ## gofmt and golangci-lint, whose govet is go vet
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "gofmt -w these:"; echo "$$unformatted"; exit 1; fi
	.ci/golangci run ./... ./.ci/interop

clean: ## remove what build made
	rm -rf bin

help: ## list the verbs
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14
