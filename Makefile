# `make run` shows the broker, `make test` checks it. Needs cargo; what else is missing, apt-get installs.

PREFIX        ?= /usr/local
SYSCONFDIR    ?= /etc
LOCALSTATEDIR ?= /var

SUDO   := $(if $(filter 0,$(shell id -u)),,sudo)
BINARY := $(or $(CARGO_TARGET_DIR),target)/release/hls-broker
CONFIG  = $(DESTDIR)$(SYSCONFDIR)/hls.yaml
DATA    = $(LOCALSTATEDIR)/lib/hls-broker

# $(call need,command=package ...): what has no such command gets that package.
need = @set -e; PATH=$$PATH:/usr/sbin; missing=; for pair in $(1); do \
	command -v $${pair%=*} >/dev/null || missing="$$missing $${pair\#*=}"; done; \
	if [ -n "$$missing" ]; then \
	command -v apt-get >/dev/null || { echo "please install:$$missing" >&2; exit 1; }; \
	$(SUDO) apt-get update -qq; \
	$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing; fi

.PHONY: build run test bench depend install fmt clean

build:
	$(call need,cc=build-essential)
	cargo build --release --locked

run:
	$(call need,cc=build-essential ffmpeg=ffmpeg)
	cargo run --release --locked -- demo $(ARGS)

# TEST_BINARY=/usr/local/bin/hls-broker make test: the black-box tests try that binary instead of a debug build.
test:
	$(call need,cc=build-essential ffmpeg=ffmpeg espeak-ng=espeak-ng curl=curl)
	@cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 || rustup component add rustfmt clippy
	cargo fmt --check
	cargo clippy --locked --quiet --all-targets -- -D warnings
	cargo test --locked --quiet --tests --no-fail-fast

bench:
	$(call need,cc=build-essential ffmpeg=ffmpeg espeak-ng=espeak-ng nginx=nginx wrk=wrk openssl=openssl)
	cargo bench --locked --bench broker -- $(ARGS)

depend:
	$(call need,cc=build-essential ffmpeg=ffmpeg espeak-ng=espeak-ng curl=curl nginx=nginx wrk=wrk openssl=openssl mpv=mpv)

# An installed hls.yaml keeps its data below $(DATA); one that is there is left alone.
install: $(BINARY)
	install -D $(BINARY) $(DESTDIR)$(PREFIX)/bin/hls-broker
	@if [ -e $(CONFIG) ]; then echo "$(CONFIG) stays as it is"; else \
	install -D -m 644 hls.yaml $(CONFIG) && \
	sed -i -e 's:\./data:$(DATA):' -e 's:^#\(state\:\|  dir\: $(DATA)\):\1:' $(CONFIG) && echo "$(CONFIG) is the sample"; fi

$(BINARY): Cargo.toml Cargo.lock $(shell find src demo -type f)
	cargo build --release --locked
	@touch $@

fmt:
	cargo fmt

clean:
	cargo clean
