# gptqfs. Everything is built in $(B); SAN= and CC= builds go to directories of their own, so that objects never mix.
#
#   make [all]            build/gptqfs                make check       all tests
#   make deps             Debian packages             make bench       measurements
#   make demo             mount and look around       make fuzz        long fuzzing (FUZZ_SECONDS=60)
#   make install          DESTDIR= PREFIX=            make interop     real programs read a mount (PyPI)
#   SAN=address,undefined or SAN=thread, CC=clang, V=1

CC ?= gcc
ifeq ($(origin CC),default)
CC := gcc
endif
PREFIX ?= /usr/local
bindir ?= $(PREFIX)/bin
mandir ?= $(PREFIX)/share/man
SAN ?=
comma := ,
B ?= build$(if $(filter gcc,$(CC)),,/$(notdir $(CC)))$(if $(SAN),/san-$(subst $(comma),-,$(SAN)))

CFLAGS ?= -O2 -g
override CFLAGS += -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -Wmissing-prototypes -Wstrict-prototypes \
	-ffp-contract=off -fno-strict-overflow -pthread -Icore -MMD -MP
ifneq ($(SAN),)
override CFLAGS += -fsanitize=$(SAN) -fno-omit-frame-pointer
override LDFLAGS += -fsanitize=$(SAN)
endif
FUSE_CFLAGS = $(shell pkg-config --cflags fuse3)
FUSE_LIBS = $(shell pkg-config --libs fuse3)
JSON_LIBS = $(shell pkg-config --libs libcjson)
LIBS = $(JSON_LIBS) -pthread -lm

Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-6s %s\n' $(1) $(2))

core_src := $(wildcard core/*.c)
fs_src := $(wildcard fs/*.c)
core_obj := $(core_src:%.c=$(B)/%.o)
fs_obj := $(fs_src:%.c=$(B)/%.o)
tests := $(patsubst tests/%.c,$(B)/%,$(wildcard tests/test_*.c) tests/check_dequant.c)

all: $(B)/gptqfs

$(B)/gptqfs: $(fs_obj) $(B)/libgptqfs.a
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(FUSE_LIBS) $(LIBS)

$(B)/libgptqfs.a: $(core_obj)
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^

$(B)/%.o: %.c
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(CFLAGS) $(if $(filter fs/%,$<),$(FUSE_CFLAGS)) -c -o $@ $<

# Each instruction set has one file, and only that file is compiled for it.
machine := $(shell $(CC) -dumpmachine)
ifneq ($(filter x86_64%,$(machine)),)
$(B)/core/dequant_vector.o: override CFLAGS += -mssse3
$(B)/core/dequant_avx2.o: override CFLAGS += -mavx2 -mf16c
$(B)/core/dequant_avx512.o: override CFLAGS += -mavx2 -mf16c -mavx512f -mavx512bw -mavx512dq -mavx512vl
$(B)/core/dequant_avx512vbmi.o: override CFLAGS += -mavx2 -mf16c -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vbmi
endif

-include $(core_obj:.o=.d) $(fs_obj:.o=.d)
