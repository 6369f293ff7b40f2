# gptqfs. Everything is built in $(B); SAN= and CC= builds use separate directories, so that objects never mix.
#
#   make [all]            build/gptqfs                make check       all tests; TESTS="unit mount" for some
#   make deps             Debian packages             make bench       measurements
#   make demo             mount and look around       make fuzz        FUZZ_SECONDS=60 or FUZZ_RUNS=N
#   make install          DESTDIR= PREFIX=            make faults      every call fails once (check: a sample)
#   make cuda             the CUDA plugin; needs nvcc make interop     real programs read a mount (PyPI)
#   make static           one static program          make deb         Debian packages
#   make wheel            the package for PyPI        make release     all packages, with SHA-256 sums
#   make soak             hours of use and abuse (SOAK_SCALE=1: a hundredth)
#   SAN=address,undefined or SAN=thread, CC=clang, V=1
#
# The rest is in contrib/install.mk, contrib/style.mk, contrib/packaging/packaging.mk, cuda/cuda.mk and tests/tests.mk.

CC ?= gcc
ifeq ($(origin CC),default)
CC := gcc
endif
PREFIX ?= /usr/local
libdir ?= $(PREFIX)/lib
SAN ?=
comma := ,
B ?= build$(if $(filter gcc,$(CC)),,/$(notdir $(CC)))$(if $(SAN),/san-$(subst $(comma),-,$(SAN)))

# ---- flags ----

machine := $(shell $(CC) -dumpmachine)
warnings := -Wall -Wextra -Werror -Wmissing-prototypes -Wstrict-prototypes
# With sanitizers, -g would take as long as the rest of a compilation; -g1 has the lines of their reports.
CFLAGS ?= $(if $(SAN),-O1 -g1,-O2 -g)
override CFLAGS += -std=gnu11 -D_GNU_SOURCE $(warnings) -ffp-contract=off -fno-strict-overflow -pthread -Icore -MMD -MP
ifneq ($(SAN),)
override CFLAGS += -fsanitize=$(SAN) -fno-omit-frame-pointer -DUNROLL=
override LDFLAGS += -fsanitize=$(SAN)
else
# Hardening, redundant with sanitizers. _FORTIFY_SOURCE needs optimization.
hardening := -fstack-protector-strong -fstack-clash-protection $(if $(filter x86_64%,$(machine)),-fcf-protection) \
	$(if $(filter-out -O0,$(filter -O%,$(CFLAGS))),-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
override CFLAGS += $(hardening)
override LDFLAGS += -Wl,-z,relro,-z,now
endif

# pkg-config names of the libraries of core/ and of fs/.
core_packages := libcjson libpcre2-8 nettle
fs_packages := fuse3
FUSE_CFLAGS = $(shell pkg-config --cflags $(fs_packages))
FUSE_LIBS = $(shell pkg-config --libs $(fs_packages))
LIBS = $(shell pkg-config --libs $(core_packages)) -pthread -lm

# A recipe that begins with $(call say,CC,file) prints only that; V=1 prints the commands, make -s nothing.
Q := $(if $(V),,@)
silent = $(findstring s,$(filter-out --%,$(firstword -$(MAKEFLAGS))))
say = $(Q)$(if $(V)$(silent),,printf '  %-6s %s\n' $(1) '$(2)'; )

# ---- the program ----

# $(call below,DIRECTORY,EXTENSION): files in a directory and its sub-directories.
below = $(wildcard $(1)/*.$(2) $(1)/*/*.$(2) $(1)/*/*/*.$(2))
core_src := $(call below,core,c)
core_headers := $(call below,core,h)
core_obj := $(core_src:%.c=$(B)/%.o)
fs_obj := $(patsubst %.c,$(B)/%.o,$(call below,fs,c))

all: $(B)/gptqfs

$(B)/gptqfs: $(fs_obj) $(B)/libgptqfs.a
	$(call say,LD,$@)$(CC) $(LDFLAGS) -o $@ $^ $(FUSE_LIBS) $(LIBS)

$(B)/libgptqfs.a: $(core_obj)
	$(call say,AR,$@)rm -f $@ && $(AR) qcs $@ $^

$(B)/%.o: %.c
	$(call say,CC,$<)mkdir -p $(@D) && $(CC) $(CFLAGS) -c -o $@ $<

$(fs_obj): override CFLAGS += -Ifs $(FUSE_CFLAGS)

# What --licenses prints; a static program embeds those of its libraries as well.
LICENSES ?= LICENSE
$(B)/fs/licenses.o: override CFLAGS += -DLICENSES='"$(LICENSES)"'
$(B)/fs/licenses.o: $(LICENSES)

# The installed plugin, for accel=auto and accel=cuda.
plugin := $(libdir)/gptqfs/gptqfs-cuda.so
$(B)/core/kernel/accel.o: override CFLAGS += -DGPTQFS_PLUGIN='"$(plugin)"'
$(B)/core/kernel/accel.o: $(B)/plugin.path
ifneq ($(plugin),$(file <$(B)/plugin.path))
.PHONY: $(B)/plugin.path
endif
$(B)/plugin.path:
	$(Q)mkdir -p $(@D) && echo '$(plugin)' >$@

# Tests make shared objects of these, in which hidden symbols keep the code that an executable has.
$(B)/core/kernel/%.o $(B)/core/base/dtype.o: override CFLAGS += -fPIC -fvisibility=hidden

# Only files below core/kernel/ named after an instruction set are compiled for it.
ifneq ($(filter x86_64%,$(machine)),)
$(B)/%_vector.o: override CFLAGS += -mssse3
$(B)/%_avx2.o: override CFLAGS += -mavx2 -mf16c
$(B)/%lora_avx2.o: override CFLAGS += -mfma
$(B)/%_avx512.o: override CFLAGS += -mavx2 -mf16c -mavx512f -mavx512bw -mavx512dq -mavx512vl
endif

# Most of the time of a build goes into these files: a third of it into debug information about the variables of unrolled
# loops, and with sanitizers, half of it into checks of pointers which the address sanitizer or the processor makes too.
simd_flags := $(if $(filter -g,$(CFLAGS)),-g1) \
	$(if $(findstring address$(comma)undefined,$(SAN)),-fno-sanitize=null$(comma)object-size$(comma)pointer-overflow)
$(B)/%_vector.o $(B)/%_avx2.o $(B)/%_avx512.o: override CFLAGS += $(simd_flags)

clean:
	rm -rf build

.PHONY: all clean
.SECONDARY:
.DELETE_ON_ERROR:

include cuda/cuda.mk contrib/install.mk contrib/packaging/packaging.mk contrib/style.mk tests/tests.mk

-include $(core_obj:.o=.d) $(fs_obj:.o=.d)
