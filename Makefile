# danelaw: one Makefile, no recursion. `make help` lists the targets.
#
#   make                    build/danelaw
#   make CC=clang           build/clang/danelaw, beside it
#   make SAN=address,undefined   build/san/danelaw

VERSION := 0.1.0
PREFIX  ?= /usr/local
SBINDIR ?= $(PREFIX)/sbin
DATADIR ?= $(PREFIX)/share/danelaw
DOCDIR  ?= $(PREFIX)/share/doc/danelaw
MANDIR  ?= $(PREFIX)/share/man
UNITDIR ?= $(PREFIX)/lib/systemd/system
USERDIR ?= $(PREFIX)/lib/sysusers.d
BASHDIR ?= $(PREFIX)/share/bash-completion/completions
SAN     ?=
DESTDIR ?=
FUZZ_SECONDS ?= 60
MINUTES ?= 60

ifeq ($(origin CC),default)
CC := gcc
endif
COVERAGE ?= # set by `make coverage`
flavour := $(if $(COVERAGE),coverage,$(if $(SAN),san)$(if $(filter-out gcc cc,$(notdir $(CC))),$(if $(SAN),-)$(notdir $(CC))))
OUT     := build$(if $(flavour),/$(flavour))
PYTHON  := /usr/bin/python3

# Packages of Debian 12: what building needs, and what tests and fuzzers need beside it.
BUILD_PACKAGES := libev-dev uthash-dev libssl-dev libunbound-dev libinih-dev libidn2-dev dns-root-data \
                  ca-certificates libcurl4-openssl-dev libpsl-dev libsqlite3-dev libjansson-dev libmicrohttpd-dev libcap-ng-dev \
                  libseccomp-dev libsystemd-dev
TEST_PACKAGES  := libcmocka-dev python3-pytest python3-dnspython python3-cryptography python3-jsonschema \
                  mandoc iproute2 nftables openssl systemd
FUZZ_PACKAGES  := clang libclang-rt-14-dev
LINT_PACKAGES  := cppcheck clang clang-tidy clang-tools python3-pyflakes
COVERAGE_PACKAGES := $(FUZZ_PACKAGES) llvm

SOURCES := $(wildcard conf/*.c dnsval/*.c tls/*.c policy/*.c proxy/*.c proxy/*/*.c)
LIBRARY := $(filter-out proxy/main.c,$(SOURCES))
UNITS   := $(wildcard tests/unit/test_*.c)
FUZZERS := $(wildcard tests/fuzz/fuzz_*.c)

OPTIMISE ?= -O2 -g
WERROR  ?= -Werror
WARN    := -Wall -Wextra -Wshadow -Wpointer-arith -Wwrite-strings -Wmissing-prototypes \
           -Wstrict-prototypes -Wformat=2 -Wundef -Wvla $(WERROR)
HARDEN  := -fstack-protector-strong -fPIE -fcf-protection
ifeq ($(SAN),)
HARDEN  += -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
else
SANFLAGS := -fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer
endif
# Counters lie in a mapped file (%c), so that processes which are killed or may not open files count.
ifneq ($(COVERAGE),)
SANFLAGS := -fprofile-instr-generate=$(CURDIR)/$(OUT)/profiles/%c-%m.profraw -fcoverage-mapping
CFLAGS += -mllvm -runtime-counter-relocation
endif
COMMIT  := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo release)
# The program is optimised as a whole, which saves six percent of the CPU of a small message; objects also hold code
# of their own, so that unit tests link as fast as ever. `make LTO=` for quick rebuilds.
LTO     ?= $(if $(flavour)$(filter-out gcc,$(notdir $(CC))),,-flto=auto)
LTO_OBJECT := $(if $(LTO),$(LTO) -ffat-lto-objects)
CPPFLAGS += -I. -D_GNU_SOURCE
CFLAGS  += -std=gnu11 $(OPTIMISE) $(WARN) $(HARDEN) $(SANFLAGS)
LDFLAGS += -pie -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed $(SANFLAGS)
LDLIBS  := -lev -lcurl -lsqlite3 -ljansson -lmicrohttpd -lssl -lcrypto -lunbound -linih -lidn2 -lresolv -lpsl -lcap-ng -lseccomp -lsystemd -lm

# V=1 shows the commands.
quiet := $(if $(V),,@)
say    = $(if $(V),,@printf '  %-5s%s\n' $(1) $(2))

# Targets that install first start a make of their own, with a job for each processor.
build := $(MAKE) --no-print-directory -j$(shell nproc)

.PHONY: all deps test-deps run check units demo demo-transparent bench bench-full bench-profile bench-deps fuzz fuzz-build fuzz-replay install uninstall deb clean dist help FORCE
.DELETE_ON_ERROR:
.SECONDARY: $(OUT)/tests/fuzz/replay.o $(FUZZERS:%.c=$(OUT)/%.o) $(FUZZERS:%.c=build/fuzz/%.o)

all: $(OUT)/danelaw

help:
	@echo "make            build $(OUT)/danelaw"
	@echo "make run        install what building needs, build, serve with the defaults on port 2525"
	@echo "make check      get what the tests need, build, run all tests"
	@echo "make check-slow the tests that take minutes: SMTP smuggling, reload and upgrade under load"
	@echo "make hostile    the tests of the catalogue of attacks and faults, and which rows none shows"
	@echo "make lint       cppcheck, clang-tidy, gcc -fanalyzer, scan-build: no finding"
	@echo "make mutants    one guard taken away at a time: does its test notice?"
	@echo "make check-package   builds the package, and tests it installed in a clean system"
	@echo "make demo       a small signed internet in a namespace, and what danelaw does with it"
	@echo "make demo-transparent   a mail server behind danelaw as its router, no setting of it changed"
	@echo "make bench      CPU per message and messages/s beside Postfix and Exim, under a minute"
	@echo "make bench-full the whole table of figures and a plot; takes long"
	@echo "make bench-profile   where danelaw's CPU goes; needs perf (linux-perf)"
	@echo "make fuzz       all fuzzers, FUZZ_SECONDS=$(FUZZ_SECONDS) each"
	@echo "make deb        a package for Debian, in build/deb"
	@echo "make soak       mixed mail, dying next hops, flipping DNS, kill -9, for MINUTES=$(MINUTES)"
	@echo "make coverage   lines of code that the tests reach"
	@echo "make install    into DESTDIR$(PREFIX); uninstall, clean, dist, deps"

# The version text depends on the commit; version.o is rebuilt when it changes.
$(OUT)/release.h: FORCE
	@mkdir -p $(@D)
	@printf '#define DANELAW_VERSION "%s"\n#define DANELAW_COMMIT "%s"\n' '$(VERSION)' '$(COMMIT)' > $@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@
FORCE:

$(OUT)/proxy/version.o: $(OUT)/release.h
$(OUT)/proxy/version.o: CPPFLAGS += -I$(OUT)

# All objects are built again when it changes.
$(OUT)/lto.flags: FORCE
	@mkdir -p $(@D)
	@echo '$(LTO)' | cmp -s - $@ || echo '$(LTO)' > $@

$(OUT)/%.o: %.c Makefile $(OUT)/lto.flags
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(quiet)$(CC) $(CPPFLAGS) $(CFLAGS) $(LTO_OBJECT) -MMD -MP -c -o $@ $<

$(OUT)/libdanelaw.a: $(LIBRARY:%.c=$(OUT)/%.o)
	@rm -f $@
	$(quiet)$(AR) rcs $@ $^

$(OUT)/danelaw: $(OUT)/proxy/main.o $(OUT)/libdanelaw.a
	$(call say,LD,$@)
	$(quiet)$(CC) $(or $(LTO),-fno-lto) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# ---- dependencies ----

deps:
	@packaging/install-packages $(BUILD_PACKAGES)

test-deps:
	@packaging/install-packages $(BUILD_PACKAGES) $(TEST_PACKAGES)

run: deps
	@$(build) all
	$(OUT)/danelaw

# ---- tests ----

check: test-deps
	@$(build) all fuzz-replay units
	@tests/run $(OUT)

.PHONY: lint
lint: deps
	@packaging/install-packages $(LINT_PACKAGES)
	@$(build) $(OUT)/release.h
	@tests/lint/run $(OUT)

.PHONY: check-slow hostile mutants
check-slow: test-deps
	@$(build) all
	@tests/slow $(OUT)

hostile: test-deps
	@$(build) all units
	@DANELAW_ONLY=catalogue tests/run $(OUT)

# A guard less each time: does its test notice?
mutants: test-deps
	@tests/lab/fetch
	@tests/mutate $(OUT)

units: $(UNITS:%.c=$(OUT)/%)

$(UNITS:%.c=$(OUT)/%): $(OUT)/%: $(OUT)/%.o $(OUT)/libdanelaw.a
	$(call say,LD,$@)
	$(quiet)$(CC) $(LDFLAGS) -fno-lto -o $@ $^ -lcmocka $(LDLIBS)

# The replayer runs seeds through a fuzzer's entry without libFuzzer: any compiler, any sanitizer.
fuzz-replay: $(FUZZERS:%.c=$(OUT)/%-replay)
$(OUT)/tests/fuzz/%-replay: $(OUT)/tests/fuzz/%.o $(OUT)/tests/fuzz/replay.o $(OUT)/libdanelaw.a
	$(call say,LD,$@)
	$(quiet)$(CC) $(LDFLAGS) -fno-lto -o $@ $^ $(LDLIBS)

FUZZ_SAN    := address,undefined
FUZZ_CFLAGS := -std=gnu11 -O1 -g -fsanitize=fuzzer-no-link,$(FUZZ_SAN) -fno-sanitize-recover=all
fuzz-build: $(FUZZERS:%.c=build/fuzz/%)
build/fuzz/%.o: %.c Makefile | $(OUT)/release.h
	@mkdir -p $(@D)
	$(quiet)clang $(CPPFLAGS) -I$(OUT) $(FUZZ_CFLAGS) -MMD -MP -c -o $@ $<
build/fuzz/libdanelaw.a: $(LIBRARY:%.c=build/fuzz/%.o)
	@rm -f $@
	$(quiet)$(AR) rcs $@ $^
build/fuzz/tests/fuzz/%: build/fuzz/tests/fuzz/%.o build/fuzz/libdanelaw.a
	$(call say,FUZZ,$@)
	$(quiet)clang -fsanitize=fuzzer,$(FUZZ_SAN) -o $@ $^ $(LDLIBS)

# ---- soak ----

.PHONY: soak
# Ends with "N passed, N failed". What runs for two minutes in CI is meant for an hour.
soak: test-deps
	@$(build) all
	@tests/soak/run $(OUT) $(MINUTES)

# ---- coverage ----

.PHONY: coverage
# Lines of our code that units, fuzzers' seeds and the lab reach, by folder.
coverage: test-deps
	@packaging/install-packages $(COVERAGE_PACKAGES)
	@$(build) CC=clang COVERAGE=1 all units fuzz-replay
	@umask 0; build/coverage/danelaw -V >/dev/null # commands of other users count into the same file
	@tests/run build/coverage || echo "tests failed: their lines count all the same"
	@tests/lines build/coverage

fuzz: deps
	@packaging/install-packages $(FUZZ_PACKAGES)
	@$(build) fuzz-build
	@tests/fuzz/run build/fuzz/tests/fuzz $(FUZZ_SECONDS)

demo: test-deps
	@$(build) all
	@tests/lab/demo $(OUT)/danelaw

demo-transparent: test-deps
	@$(build) all
	@tests/lab/demo-transparent $(OUT)/danelaw

# ---- benchmarks ----

build/bench/%: tests/bench/%.c tests/bench/common.h
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(quiet)$(CC) -std=gnu11 $(OPTIMISE) -Wall -Wextra -o $@ $< -lssl -lcrypto -lpthread

bench-deps: test-deps
	@tests/lab/fetch
	@$(build) all build/bench/sink build/bench/source

bench: bench-deps
	@tests/bench/run --quick --suite check,load

# The whole table, in nine minutes; README shows its result. More rounds: tests/bench/run --help.
bench-full: bench-deps
	@tests/bench/run --suite full --rounds 3

# Needs perf, which is not installed for it.
bench-profile: bench-deps
	@tests/bench/run --suite profile

# ---- installing ----

UNITS_INSTALLED := danelaw.service danelaw-nft.service
EXAMPLES := $(notdir $(wildcard packaging/examples/*))
DOCUMENTS := README.md CHANGELOG.md packaging/TRANSPARENT.md packaging/check.schema.json packaging/explain.schema.json

install: all
	install -D -m 755 $(OUT)/danelaw $(DESTDIR)$(SBINDIR)/danelaw
	install -D -m 644 packaging/danelaw.8 $(DESTDIR)$(MANDIR)/man8/danelaw.8
	install -D -m 644 packaging/danelaw.conf.5 $(DESTDIR)$(MANDIR)/man5/danelaw.conf.5
	install -D -m 644 packaging/danelaw.bash $(DESTDIR)$(BASHDIR)/danelaw
	install -D -m 644 packaging/danelaw.sysusers $(DESTDIR)$(USERDIR)/danelaw.conf
	install -D -m 644 -t $(DESTDIR)$(UNITDIR) $(UNITS_INSTALLED:%=packaging/%)
	sed -i 's|/usr/local|$(PREFIX)|g' $(UNITS_INSTALLED:%=$(DESTDIR)$(UNITDIR)/%)
	install -D -m 644 -t $(DESTDIR)$(DATADIR) packaging/danelaw-closed.nft
	install -D -m 644 -t $(DESTDIR)$(DOCDIR) $(DOCUMENTS)
	install -D -m 644 -t $(DESTDIR)$(DOCDIR)/examples packaging/danelaw.conf packaging/danelaw-bridge.nft $(EXAMPLES:%=packaging/examples/%)

uninstall:
	rm -f $(DESTDIR)$(SBINDIR)/danelaw $(DESTDIR)$(BASHDIR)/danelaw $(DESTDIR)$(USERDIR)/danelaw.conf
	rm -f $(DESTDIR)$(MANDIR)/man8/danelaw.8 $(DESTDIR)$(MANDIR)/man5/danelaw.conf.5
	rm -f $(UNITS_INSTALLED:%=$(DESTDIR)$(UNITDIR)/%)
	rm -rf $(DESTDIR)$(DATADIR) $(DESTDIR)$(DOCDIR)

dist:
	@git rev-parse HEAD >/dev/null 2>&1 || { echo 'make dist needs a git checkout'; exit 1; }
	@mkdir -p build
	git archive --format=tar.gz --prefix=danelaw-$(VERSION)/ -o build/danelaw-$(VERSION).tar.gz HEAD

# ---- packages ----

# The packaging lies below packaging/, where it does not look like the project's own top level; dpkg wants
# it in debian/ of a tree, which is made anew each time: of what is checked in where that can be told.
DEB_PACKAGES := debhelper dpkg-dev lintian
DEB_TREE     := build/deb/danelaw-$(VERSION)

deb: deps
	@packaging/install-packages $(DEB_PACKAGES)
	rm -rf build/deb
	mkdir -p $(DEB_TREE)
	{ git ls-files -z 2>/dev/null || find . -name .git -prune -o -path ./build -prune -o -type f -print0; } | \
		xargs -0 cp --parents -t $(DEB_TREE)
	cp -r packaging/debian $(DEB_TREE)/debian
	cd $(DEB_TREE) && dpkg-buildpackage -us -uc -b -j$(shell nproc)

# What make check cannot do in its time: the package in a system of its own, a few minutes.
PACKAGE_TEST_PACKAGES := debootstrap rpm

.PHONY: check-package
check-package: test-deps deb
	@$(build) all
	@packaging/install-packages $(PACKAGE_TEST_PACKAGES)
	@tests/lab/package/run

clean:
	rm -rf build

-include $(wildcard $(foreach out,$(OUT) build/fuzz,$(addprefix $(out)/,$(addsuffix /*.d,conf dnsval tls policy proxy proxy/* tests/unit tests/fuzz))))
