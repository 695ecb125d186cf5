# SPDX-License-Identifier: LGPL-2.1-or-later
# Berth's build. `make help` lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all

VERSION := 0.1.0
prefix ?= /usr
sysconfdir ?= /etc
bindir ?= $(prefix)/bin
libexecdir ?= $(prefix)/libexec
datadir ?= $(prefix)/share
mandir ?= $(datadir)/man
INSTALL ?= install
PKG_CONFIG ?= pkg-config
ifeq ($(shell command -v $(PKG_CONFIG)),)
# "make deps" on a new machine has nothing to ask yet.
PKG_CONFIG := true
endif

# --- Variants -----------------------------------------------------------------------------------------------------
# SAN=1 builds everything with the address and undefined-behaviour sanitizers, into a directory of its own.
ifdef SAN
B := build/san
VARIANT_FLAGS := -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
else ifdef FUZZ
# For the fuzz targets, see "make fuzz".
B := build/fuzz
CC := clang
VARIANT_FLAGS := -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
else
B := build
VARIANT_FLAGS := -O2 -D_FORTIFY_SOURCE=2
endif

WARNINGS := -Wall -Wextra -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wpointer-arith -Wvla -Wformat=2 \
	-Wno-format-nonliteral $(if $(WERROR),-Werror)
HARDENING := -fstack-protector-strong -fstack-clash-protection -fPIE
CPPFLAGS += -D_GNU_SOURCE -DBERTH_VERSION='"$(VERSION)"' -DBERTH_LIBEXECDIR='"$(libexecdir)/berth"' \
	-DBERTH_SYSCONFDIR='"$(sysconfdir)"' -Iinclude
CFLAGS ?= -g
ALL_CFLAGS = -std=gnu17 $(WARNINGS) $(HARDENING) $(VARIANT_FLAGS) $(CFLAGS)
ALL_LDFLAGS = -pie -Wl,-z,relro,-z,now -Wl,--as-needed $(VARIANT_FLAGS) $(LDFLAGS)

# --- Modules: one archive a folder of src, and what each may use (tests/lint/layers.py enforces the same table) -------
MODULES := util logfile dockerfile build http mount unit store registry journal network runtime monitor compress init engine api daemon client
USES_util :=
USES_http := util
USES_dockerfile := util
USES_build := dockerfile mount store util
USES_mount := util
USES_unit := util
USES_store := util
USES_registry := store util
USES_journal := util
USES_network := util
USES_runtime := mount util
USES_logfile := util
USES_monitor := logfile runtime mount util
USES_compress := logfile util
USES_init :=
USES_engine := build dockerfile registry store journal logfile network runtime mount unit util
USES_api := engine http $(USES_engine)
USES_daemon := api $(USES_api)
USES_client := dockerfile http util

PKGS_util := jansson
PKGS_dockerfile := jansson
PKGS_build := libarchive libcrypto jansson
PKGS_http := libsystemd libcrypto jansson
PKGS_mount := mount jansson
PKGS_unit := libsystemd jansson
PKGS_store := libarchive libcrypto libisal libseccomp jansson
PKGS_registry := libisal jansson
PKGS_journal := libsystemd jansson
PKGS_network := libmnl jansson
PKGS_runtime := libseccomp libcap jansson
PKGS_logfile := libisal jansson
PKGS_monitor :=
PKGS_compress :=
PKGS_init :=
PKGS_engine := libsystemd libarchive jansson
PKGS_api := libsystemd jansson
PKGS_daemon := libsystemd jansson
PKGS_client := jansson
# http_parser ships no pkg-config file.
EXTRA_LIBS_http := -lhttp_parser

objects = $(patsubst src/%.c,$(B)/obj/%.o,$(sort $(wildcard src/$(1)/*.c)))
archives = $(foreach module,$(1) $(USES_$(1)),$(B)/lib/$(module).a)
libraries = $(shell $(PKG_CONFIG) --libs $(sort $(foreach module,$(1) $(USES_$(1)),$(PKGS_$(module)))) </dev/null) \
	$(foreach module,$(1) $(USES_$(1)),$(EXTRA_LIBS_$(module)))

PROGRAMS := $(B)/berth $(B)/berthd $(B)/berth-monitor $(B)/berth-compress $(B)/berth-init

all: $(PROGRAMS) ## builds the programs into build/

define module_rules
$(B)/lib/$(1).a: $(call objects,$(1)) | $(B)/lib
	@rm -f $$@
	$(AR) rcsD $$@ $(call objects,$(1))
$(B)/obj/$(1)/%.o: src/$(1)/%.c Makefile
	@mkdir -p $$(@D)
	$(CC) $(CPPFLAGS) -Isrc/$(1) $$(PKG_CFLAGS_$(1)) $(ALL_CFLAGS) -MMD -MP -c $$< -o $$@
PKG_CFLAGS_$(1) := $(if $(PKGS_$(1)),$(shell $(PKG_CONFIG) --cflags $(PKGS_$(1))))
endef
$(foreach module,$(MODULES),$(eval $(call module_rules,$(module))))
-include $(wildcard $(B)/obj/*.d $(B)/obj/*/*.d $(B)/tests/*.d)

$(B)/lib:
	@mkdir -p $@

# The archives of a program are searched in the order of the layers, highest first.
$(B)/berth: $(call archives,client)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(call libraries,client)
$(B)/berthd: $(call archives,daemon)
	$(CC) $(ALL_LDFLAGS) -o $@ -Wl,--start-group $^ -Wl,--end-group $(call libraries,daemon)
# Static, as it is executed once a container: nothing to look up and to relocate at the start. It uses libc alone.
$(B)/berth-monitor: $(call archives,monitor)
	$(CC) $(if $(SAN),$(ALL_LDFLAGS),-static-pie $(filter-out -pie,$(ALL_LDFLAGS))) -o $@ $^

$(B)/berth-compress: $(call archives,compress)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(call libraries,compress)

# Static, as it runs inside of any container, and without sanitizers for the same reason.
$(B)/berth-init: src/init/init-main.c Makefile
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -std=gnu17 $(WARNINGS) -O2 $(CFLAGS) -static $< -o $@ $(LDFLAGS)

# --- Tests: tests/unit/test-MODULE-NOUN.c links the archive of MODULE and what it may use ---------------------------
UNIT_TESTS := $(patsubst tests/unit/%.c,$(B)/tests/%,$(sort $(wildcard tests/unit/test-*.c)))
module_of = $(word 2,$(subst -, ,$(basename $(notdir $(1)))))

.SECONDEXPANSION:
$(B)/tests/test-%: tests/unit/test-%.c $$(call archives,$$(call module_of,test-%)) Makefile
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -Isrc/$(call module_of,$@) $(ALL_CFLAGS) -MMD -MP -MF $@.d -pie $< -o $@ \
		-Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(VARIANT_FLAGS) \
		$(call libraries,$(call module_of,$@)) -ljansson -lcmocka

# Fuzz targets are linked likewise; "make fuzz" calls make again, with FUZZ=1.
FUZZ_TARGETS := $(patsubst tests/fuzz/%.c,$(B)/%,$(sort $(wildcard tests/fuzz/fuzz-*.c)))
$(B)/fuzz-%: tests/fuzz/fuzz-%.c $$(call archives,$$(call module_of,fuzz-%)) Makefile
	$(CC) $(CPPFLAGS) -Isrc/$(call module_of,$@) $(ALL_CFLAGS) -fsanitize=fuzzer -MMD -MP -MF $(B)/obj/$(@F).d -pie $< -o $@ \
		-Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(call libraries,$(call module_of,$@))

fuzz-targets: $(FUZZ_TARGETS)

fuzz: ## runs each fuzz target for FUZZ_SECONDS (5)
	$(MAKE) -s FUZZ=1 fuzz-targets
	bash tests/fuzz/run.sh $(patsubst tests/fuzz/%.c,build/fuzz/%,$(sort $(wildcard tests/fuzz/fuzz-*.c)))

# What runs inside test containers: static programs, so that they need no image around them.
$(B)/tests/payload $(B)/tests/reaper: $(B)/tests/%: tests/payload/%.c
	@mkdir -p $(@D)
	$(CC) -std=gnu17 -D_GNU_SOURCE -O2 $(WARNINGS) -static $< -o $@

tests: $(UNIT_TESTS) $(B)/tests/payload $(B)/tests/reaper ## builds the unit tests

check-unit: $(UNIT_TESTS) ## runs the unit tests
	@for test in $(UNIT_TESTS); do echo "== $${test##*/}"; $$test; done

# GCC's analyser, as it knows the cleanup attribute. Left out is what it gets wrong here: leaks of memory and descriptors
# that an array or a structure keeps (the sanitizers look for leaks, see tests/check.sh), and reallocarray(). One version,
# which Debian 12 and 13 both have: each is mistaken in its own way.
ANALYSER := gcc-12
ANALYSER_FLAGS := -fanalyzer -Wno-analyzer-malloc-leak -Wno-analyzer-fd-leak -Wno-analyzer-mismatching-deallocation
analysed = $(foreach module,$(MODULES),$(patsubst src/%.c,$(B)/analysed/%.i,$(sort $(wildcard src/$(module)/*.c))))
define analyser_rule
$(B)/analysed/$(1)/%.i: src/$(1)/%.c Makefile
	@mkdir -p $$(@D)
	@$(ANALYSER) $(CPPFLAGS) -Isrc/$(1) $$(PKG_CFLAGS_$(1)) -std=gnu17 -g -O1 $(ANALYSER_FLAGS) -Werror -S -o /dev/null -MMD -MP -MT $$@ -MF $$(@:.i=.d) $$<
	@touch $$@
endef
$(foreach module,$(MODULES),$(eval $(call analyser_rule,$(module))))
-include $(wildcard $(B)/analysed/*/*.d)

analyse: $(analysed) ## looks for mistakes with GCC's analyser

lint: all analyse ## the analyser, the format of the sources, the layers, the manual and completion against --help
	$(CLANG_FORMAT) --dry-run -Werror $(FORMATTED)
	python3 tests/lint/layers.py
	PATH="$(CURDIR)/$(B):$$PATH" python3 tests/lint/check-man.py

# One version, which Debian 12 and 13 both have: each formats a little differently.
CLANG_FORMAT := clang-format-19
FORMATTED := src/*/*.[ch] include/berth/*.h tests/unit/*.[ch] tests/fuzz/*.[ch] tests/payload/*.c

format: ## formats the sources
	$(CLANG_FORMAT) -i $(FORMATTED)

# --- Installing ---------------------------------------------------------------------------------------------------
systemd_dir = $(shell $(PKG_CONFIG) --variable=$(1) systemd 2>/dev/null || echo $(2))

install: all ## installs below DESTDIR
	$(INSTALL) -D -m 755 $(B)/berth $(DESTDIR)$(bindir)/berth
	$(INSTALL) -D -m 755 $(B)/berthd $(DESTDIR)$(libexecdir)/berth/berthd
	$(INSTALL) -D -m 755 $(B)/berth-monitor $(DESTDIR)$(libexecdir)/berth/berth-monitor
	$(INSTALL) -D -m 755 $(B)/berth-compress $(DESTDIR)$(libexecdir)/berth/berth-compress
	$(INSTALL) -D -m 755 $(B)/berth-init $(DESTDIR)$(libexecdir)/berth/berth-init
	$(INSTALL) -d $(DESTDIR)$(call systemd_dir,systemdsystemunitdir,/usr/lib/systemd/system)
	$(INSTALL) -m 644 units/berth.socket units/berth.slice $(DESTDIR)$(call systemd_dir,systemdsystemunitdir,/usr/lib/systemd/system)/
	for unit in berth.service berth-autostart.service; do \
		sed 's|@libexecdir@|$(libexecdir)|' units/$$unit.in > $(DESTDIR)$(call systemd_dir,systemdsystemunitdir,/usr/lib/systemd/system)/$$unit; \
	done
	$(INSTALL) -D -m 644 units/berth.catalog $(DESTDIR)$(call systemd_dir,catalogdir,/usr/lib/systemd/catalog)/berth.catalog
	$(INSTALL) -D -m 644 units/berth.sysusers $(DESTDIR)$(call systemd_dir,sysusersdir,/usr/lib/sysusers.d)/berth.conf
	$(INSTALL) -D -m 644 units/berth.tmpfiles $(DESTDIR)$(call systemd_dir,tmpfilesdir,/usr/lib/tmpfiles.d)/berth.conf
	$(INSTALL) -D -m 644 src/client/completion/berth $(DESTDIR)$(datadir)/bash-completion/completions/berth
	$(INSTALL) -d $(DESTDIR)$(mandir)/man1 $(DESTDIR)$(mandir)/man5 $(DESTDIR)$(mandir)/man8
	$(INSTALL) -m 644 man/*.1 $(DESTDIR)$(mandir)/man1/
	$(INSTALL) -m 644 man/*.5 $(DESTDIR)$(mandir)/man5/
	$(INSTALL) -m 644 man/*.8 $(DESTDIR)$(mandir)/man8/

uninstall: ## removes what install put there
	rm -f $(DESTDIR)$(bindir)/berth $(foreach page,$(wildcard man/*.[158]),$(DESTDIR)$(mandir)/man$(subst .,,$(suffix $(page)))/$(notdir $(page))) \
		$(DESTDIR)$(datadir)/bash-completion/completions/berth \
		$(DESTDIR)$(call systemd_dir,systemdsystemunitdir,/usr/lib/systemd/system)/berth{.socket,.service,.slice,-autostart.service} \
		$(DESTDIR)$(call systemd_dir,catalogdir,/usr/lib/systemd/catalog)/berth.catalog \
		$(DESTDIR)$(call systemd_dir,sysusersdir,/usr/lib/sysusers.d)/berth.conf \
		$(DESTDIR)$(call systemd_dir,tmpfilesdir,/usr/lib/tmpfiles.d)/berth.conf
	rm -rf $(DESTDIR)$(libexecdir)/berth

# --- Whole checks -------------------------------------------------------------------------------------------------
DEPS := build-essential pkg-config libsystemd-dev libmount-dev libjansson-dev libarchive-dev libcmocka-dev libseccomp-dev \
	libcap-dev libhttp-parser-dev libmnl-dev libssl-dev libisal-dev libcurl4-openssl-dev python3 systemd-dev \
	gcc-12 clang libclang-rt-dev clang-format-19
DEPS_HOST := systemd-container mmdebstrap debian-archive-keyring dbus busybox-static nftables iproute2 util-linux tar gzip zstd \
	qemu-system-x86 e2fsprogs $(if $(shell command -v npm),,npm)

deps: ## installs the Debian packages the build and the tests need
	apt-get update -qq
	@DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
		$(foreach package,$(DEPS) $(DEPS_HOST),$$(apt-cache show $(package) >/dev/null 2>&1 && echo $(package)))

quickstart: deps ## builds Berth and runs a container with it
	$(MAKE) all
	bash tests/host/quickstart.sh

check: deps ## everything that must pass (CHECKS="lint api" for some only)
	$(MAKE) -j$$(nproc) WERROR=1 all tests
	bash tests/check.sh $(CHECKS)

bench: all ## measures Berth beside Docker and Podman in a host (BENCH_N rounds; ROWS="run logs" for some rows only)
	bash tests/bench/run.sh $(ROWS)

host-start: all ## boots a test host named "dev"
	bash tests/host/nspawn.sh start dev --profile test
host-shell: ## a shell in it
	bash tests/host/nspawn.sh shell dev
host-stop: ## stops it
	bash tests/host/nspawn.sh stop dev

clean: ## removes build/
	rm -rf build

help: ## lists the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 24

.PHONY: all tests analyse check-unit fuzz fuzz-targets lint format install uninstall deps quickstart check bench host-start host-shell host-stop clean help
