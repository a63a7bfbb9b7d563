# The verbs of this repository. `make run` and `make test` need nothing but Rust, Node, Python and, as root on Debian, apt.

CARGO ?= cargo

.PHONY: run test lint fmt bench generate ci setup conformance faults fuzz fuzz-fixed deny e2e e2e-api cluster

# Builds the gateway and holds sockets at ws://127.0.0.1:8080/ws, with a few demo events per second and the console
# at http://127.0.0.1:9090/console/. No Redis, no cluster, no key.
run:
	$(CARGO) build --release -p rtgw
	target/release/rtgw serve -f examples/quickstart/gateway.yaml --demo

# Installs what the tests need (once), then runs every suite.
test: setup
	$(CARGO) test --workspace
	$(MAKE) fuzz-fixed conformance

# Denies every warning. Licences, banned crates and sources are part of the tidy test, so that no tool has to be installed.
lint:
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) test -q -p tidy

fmt:
	$(CARGO) fmt --all

# Prints each figure beside the floor measured in the same run; docs/performance.md explains them.
bench:
	$(CARGO) build --release -p rtgw
	target/release/rtgw bench

# Rewrites what is generated from the code; a test fails where that was forgotten.
generate:
	RTGW_GENERATE=1 $(CARGO) test -q -p rtgw-crds --test generated
	RTGW_GENERATE=1 $(CARGO) test -q -p rtgw --test generated
	RTGW_GENERATE=1 $(CARGO) test -q -p tidy --test tidy chart
	RTGW_GENERATE=1 $(CARGO) test -q -p rtgw-operator --test golden

# What every change has to pass. Properties are tried on the same inputs every time, as the fuzz targets are, so that a find is the fault of
# the change it fails; `make test` tries others.
ci: export PROPTEST_RNG_SEED ?= 1
ci: setup lint test e2e-api

setup:
	tools/setup.sh

# The independent suite for RFC 6455 and RFC 7692 against an Echo endpoint.
conformance: setup
	$(CARGO) build --release -p rtgw
	conformance/autobahn/run.sh

# Redis and gateways break in every way that is known, a line each; docs/reliability.md says what they prove. FAULTS=WORD plays those
# whose names have the word in them.
faults: setup
	RUST_BACKTRACE=0 $(CARGO) test -q -p rtgw --test faults every_scenario -- --ignored --nocapture

# Every fuzz target from a random seed for a short while; SECONDS_EACH makes it longer.
fuzz: setup
	SECONDS_EACH=$${SECONDS_EACH:-10} fuzz/run.sh

# The same inputs every time, so that a find is the fault of the change it fails.
fuzz-fixed: setup
	fuzz/run.sh --fixed

# The whole of deny.toml, advisories included. Needs cargo-deny.
deny:
	$(CARGO) deny check

# A node, the chart, the quickstart with a managed Redis and one message through all of it; left running. As root, without Docker.
cluster:
	e2e/play

# The operator, the chart and the gateway on a real node: what is written, which sockets are closed. As root, without Docker. `e2e/suite WORD`
# plays the cases with that word in their names.
e2e:
	e2e/suite

# The definition of RealtimeGateway and the operator on a real kube-apiserver: rules and their cost, what kubectl shows, what is made. About 10 minutes the first
# time, when etcd and kube-apiserver are compiled; seconds of server time after.
e2e-api:
	e2e/cluster api-up
	KUBECONFIG=$(CURDIR)/.cache/cluster/api/admin.kubeconfig KUBECTL=$(CURDIR)/.cache/cluster/bin/kubectl \
	    $(CARGO) test -p rtgw-crds -p rtgw-operator --test api_server -- --ignored; \
	    status=$$?; e2e/cluster api-down; exit $$status
