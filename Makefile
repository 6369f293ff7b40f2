# gptqfs. Everything is built in $(B); SAN= and CC= builds go to directories of their own, so that objects never mix.
#
#   make [all]            build/gptqfs                make check       all tests
#   make deps             Debian packages             make bench       measurements
#   make demo             mount and look around       make fuzz        long fuzzing (FUZZ_SECONDS=60)
#   make install          DESTDIR= PREFIX=            make interop     real programs read a mount (PyPI)
#   make cuda             the CUDA plugin; needs nvcc
#   SAN=address,undefined or SAN=thread, CC=clang, V=1

CC ?= gcc
ifeq ($(origin CC),default)
CC := gcc
endif
PREFIX ?= /usr/local
bindir ?= $(PREFIX)/bin
sbindir ?= $(PREFIX)/sbin
mandir ?= $(PREFIX)/share/man
libdir ?= $(PREFIX)/lib
SAN ?=
comma := ,
B ?= build$(if $(filter gcc,$(CC)),,/$(notdir $(CC)))$(if $(SAN),/san-$(subst $(comma),-,$(SAN)))

CFLAGS ?= $(if $(SAN),-O1,-O2) -g
override CFLAGS += -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -Wmissing-prototypes -Wstrict-prototypes \
	-ffp-contract=off -fno-strict-overflow -pthread -Icore -MMD -MP
ifneq ($(SAN),)
override CFLAGS += -fsanitize=$(SAN) -fno-omit-frame-pointer -DUNROLL=
override LDFLAGS += -fsanitize=$(SAN)
endif
FUSE_CFLAGS = $(shell pkg-config --cflags fuse3)
FUSE_LIBS = $(shell pkg-config --libs fuse3)
JSON_LIBS = $(shell pkg-config --libs libcjson)
HASH_LIBS = $(shell pkg-config --libs nettle)
LIBS = $(JSON_LIBS) $(HASH_LIBS) -pthread -lm

Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-6s %s\n' $(1) $(2))

core_src := $(wildcard core/*.c core/*/*.c core/*/*/*.c)
fs_src := $(wildcard fs/*.c)
core_obj := $(core_src:%.c=$(B)/%.o)
fs_obj := $(fs_src:%.c=$(B)/%.o)
plugin_obj := $(patsubst cuda/%.c,$(B)/plugin/%.o,$(wildcard cuda/*.c))

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

# Where gptqfs looks for the plugin of accel=auto and accel=cuda.
plugin := $(libdir)/gptqfs/gptqfs-cuda.so
$(B)/core/kernel/accel.o: override CFLAGS += -DGPTQFS_PLUGIN='"$(plugin)"'
$(B)/core/kernel/accel.o: $(B)/plugin.path
ifneq ($(plugin),$(file <$(B)/plugin.path))
.PHONY: $(B)/plugin.path
endif
$(B)/plugin.path:
	$(Q)mkdir -p $(@D) && echo '$(plugin)' >$@

# Each instruction set has one file, and only that file is compiled for it.
machine := $(shell $(CC) -dumpmachine)
ifneq ($(filter x86_64%,$(machine)),)
$(B)/core/kernel/dequant_vector.o $(B)/pic/kernel/dequant_vector.o: override CFLAGS += -mssse3
$(B)/core/kernel/dequant_avx2.o $(B)/pic/kernel/dequant_avx2.o: override CFLAGS += -mavx2 -mf16c
$(B)/core/kernel/dequant_avx512.o $(B)/pic/kernel/dequant_avx512.o: override CFLAGS += -mavx2 -mf16c -mavx512f -mavx512bw -mavx512dq -mavx512vl
endif

# ---- tests ----

test_src := $(wildcard tests/unit/test_*.c tests/random/test_*.c)
test_programs := $(patsubst %.c,$(B)/%,$(notdir $(test_src))) $(B)/check_kernel $(B)/hammer
fuzz_targets := $(patsubst tests/fuzz/fuzz_%.c,%,$(filter-out %/fuzz_main.c,$(wildcard tests/fuzz/fuzz_*.c)))
FUZZ_SECONDS ?= $(if $(filter fuzz,$(MAKECMDGOALS)),60,5)
# libFuzzer is clang's. Where there is no clang, make check runs the seeds through the targets.
FUZZ_CC := $(shell command -v clang)
FUZZ_SAN := fuzzer,address,undefined

vpath test_%.c tests/unit tests/random

$(B)/test_%: $(B)/tests/test_%.o $(B)/libgptqfs.a
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

$(B)/tests/%.o: %.c
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(CFLAGS) $(if $(filter %/test_loop.c,$<),$(FUSE_CFLAGS)) -c -o $@ $<

$(B)/test_loop: $(B)/fs/loop.o

$(B)/check_kernel: $(B)/tests/kernel/check_kernel.o $(B)/libgptqfs.a
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

# NEON's kernels, where they can be built and run on another machine: by a cross compiler, under qemu-user.
NEON_CC := $(if $(filter aarch64%,$(machine)),,$(shell command -v aarch64-linux-gnu-gcc))
QEMU_NEON := $(shell command -v qemu-aarch64 || command -v qemu-aarch64-static)
neon_check := $(if $(SAN),,$(and $(NEON_CC),$(QEMU_NEON),$(B)/neon/check_kernel))
kernel_src := $(wildcard core/kernel/dequant*.c) core/kernel/cast.c core/kernel/cpu.c core/base/dtype.c

$(B)/neon/check_kernel: tests/kernel/check_kernel.c $(kernel_src) $(wildcard core/kernel/accel*.c) core/base/err.c \
		$(wildcard core/*.h core/*/*.h)
	$(call say,NEON,$@)
	$(Q)mkdir -p $(@D) && $(NEON_CC) $(filter-out -M%,$(CFLAGS)) -o $@ $(filter %.c,$^) -lm

# Accelerator plugins that are good or bad in one way each; they decode with the CPU's kernels.
fakes := good slow wrong late partial closed version size no_symbol hollow
fake_plugins := $(fakes:%=$(B)/fake/%.so)
pic_obj := $(kernel_src:core/%.c=$(B)/pic/%.o)

$(B)/pic/%.o: core/%.c
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(CFLAGS) -fPIC -c -o $@ $<

$(B)/fake/%.so: tests/kernel/fake_plugin.c $(pic_obj)
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(CFLAGS) -fPIC -shared -fvisibility=hidden -DFAKE=$(shell echo $* | tr a-z A-Z) \
		-DFAKE_EXPORTS=$(if $(filter no_symbol,$*),0,1) $(LDFLAGS) -MF $@.d -o $@ $(filter %.c %.o,$^) -lm

# The CUDA plugin without a GPU: its own code, over a libcuda.so.1 whose kernels are cuda/dequant.cu compiled for this
# CPU. Mutants of that file, which the tests must catch, get a libcuda.so.1 each.
fake_cuda := $(B)/fake_cuda/gptqfs-cuda.so $(B)/fake_cuda/libcuda.so.1
mutants := $(patsubst tests/cuda/%.sed,%,$(wildcard tests/cuda/*.sed))
mutant_drivers := $(mutants:%=$(B)/fake_cuda/%/libcuda.so.1)
cuda_flags = $(CFLAGS) -fPIC -fvisibility=hidden -Icuda
fake_driver_obj := $(patsubst tests/cuda/%.c,$(B)/fake_cuda/%.o,$(filter-out %/kernels.c,$(wildcard tests/cuda/*.c)))
fake_driver_link = $(CC) -shared -Wl,-soname,libcuda.so.1 $(LDFLAGS) -pthread

$(B)/plugin/%.o: cuda/%.c
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(cuda_flags) -c -o $@ $<

$(B)/fake_cuda/gptqfs-cuda.so: $(plugin_obj) cuda/image.S
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && echo 'no kernels' >$@.image && $(CC) $(cuda_flags) -shared -DIMAGE='"$@.image"' \
		$(LDFLAGS) -MF $@.d -o $@ $(filter %.o %.S,$^)

# Emulated kernels are slow enough without -O1; and what watches threads must not watch fibers.
$(B)/fake_cuda/%.o $(mutant_drivers): override CFLAGS += -O2
$(B)/fake_cuda/block.o $(B)/fake_cuda/kernels.o $(mutant_drivers): override CFLAGS += \
	$(if $(filter thread,$(SAN)),-fno-sanitize=thread)

# A host side that does not wait before it overwrites what is on its way.
impatient := $(B)/fake_cuda/impatient.so

$(B)/fake_cuda/impatient/columns.c: tests/cuda/host/impatient.sed cuda/columns.c
	$(Q)mkdir -p $(@D) && sed -f $< cuda/columns.c >$@ && ! cmp -s cuda/columns.c $@

$(impatient): $(B)/fake_cuda/impatient/columns.c $(filter-out %/columns.o,$(plugin_obj)) cuda/image.S | \
		$(B)/fake_cuda/gptqfs-cuda.so
	$(call say,LD,$@)
	$(Q)$(CC) $(cuda_flags) -shared -DIMAGE='"$(B)/fake_cuda/gptqfs-cuda.so.image"' $(LDFLAGS) -MF $@.d -o $@ \
		$(filter %.c %.o %.S,$^)

$(B)/fake_cuda/%.o: tests/cuda/%.c
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(CFLAGS) -fPIC -Icuda -c -o $@ $<

$(B)/fake_cuda/libcuda.so.1: $(fake_driver_obj) $(B)/fake_cuda/kernels.o
	$(call say,LD,$@)
	$(Q)$(fake_driver_link) -o $@ $^

$(B)/fake_cuda/%/dequant.cu: tests/cuda/%.sed cuda/dequant.cu
	$(Q)mkdir -p $(@D) && sed -f $< cuda/dequant.cu >$@ && ! cmp -s cuda/dequant.cu $@

$(B)/fake_cuda/%/libcuda.so.1: $(B)/fake_cuda/%/dequant.cu tests/cuda/kernels.c $(fake_driver_obj)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) -fPIC -I$(@D) -Icuda -MF $@.d -c -o $(@D)/kernels.o tests/cuda/kernels.c && \
		$(fake_driver_link) -o $@ $(@D)/kernels.o $(fake_driver_obj)

$(B)/hammer: $(B)/tests/mount/hammer.o
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -pthread

ifeq ($(FUZZ_CC),)
$(B)/fuzz_%: tests/fuzz/fuzz_%.c tests/fuzz/fuzz.h $(B)/libgptqfs.a
	$(call say,FUZZ,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(CFLAGS) -MF $@.d -c -o $@.o $< && \
		$(CC) $(CFLAGS) -MF $@.d -o $@ $@.o tests/fuzz/fuzz_main.c $(B)/libgptqfs.a $(LIBS)
else
$(B)/fuzz_%: tests/fuzz/fuzz_%.c tests/fuzz/fuzz.h $(B)/fuzz/libgptqfs.a
	$(call say,FUZZ,$@)
	$(Q)mkdir -p $(@D) && clang -std=gnu11 -D_GNU_SOURCE -O1 -g -Wall -Wextra -Werror -Icore \
		-fsanitize=$(FUZZ_SAN) -o $@ $< $(B)/fuzz/libgptqfs.a $(LIBS)

ifeq ($(SAN),)
# One make builds it, before the targets that all want it.
$(B)/fuzz/libgptqfs.a: $(core_src) $(wildcard core/*.h core/*/*.h core/*/*/*.h)
	$(Q)$(MAKE) --no-print-directory CC=clang SAN=$(subst fuzzer,fuzzer-no-link,$(FUZZ_SAN)) B=$(B)/fuzz \
		CFLAGS="-O1 -g" $@ && touch $@
endif
endif

check: $(B)/gptqfs $(test_programs) $(neon_check) $(fake_plugins) $(fake_cuda) $(mutant_drivers) $(impatient) \
	$(if $(SAN),,$(fuzz_targets:%=$(B)/fuzz_%))
	$(Q)B=$(B) SAN=$(SAN) FUZZ_SECONDS=$(FUZZ_SECONDS) FUZZ_CC=$(FUZZ_CC) QEMU_NEON=$(if $(neon_check),$(QEMU_NEON)) \
		tests/run.sh $(TESTS)

fuzz: $(fuzz_targets:%=$(B)/fuzz_%)
	$(Q)B=$(B) FUZZ_SECONDS=$(FUZZ_SECONDS) FUZZ_CC=$(FUZZ_CC) tests/run.sh fuzz

$(B)/bench_null: tests/bench/null_fuse.c fs/loop.c
$(B)/bench_reader: tests/bench/reader.c
$(B)/bench_pin_memory: tests/bench/pin_memory.c
$(B)/bench_null $(B)/bench_reader $(B)/bench_pin_memory:
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(CFLAGS) $(FUSE_CFLAGS) -MF $@.d -o $@ $(filter %.c,$^) $(FUSE_LIBS) -pthread

bench: $(B)/gptqfs $(B)/check_kernel $(B)/bench_null $(B)/bench_reader $(B)/bench_pin_memory
	$(Q)B=$(B) tests/bench/run.sh $(BENCH)

interop: $(B)/gptqfs
	$(Q)B=$(B) tests/interop/run.sh

# ---- looking around ----

MODEL ?= tests/data/models/tiny-llama-4b-g32-shard
MNT ?= $(B)/mnt

demo: $(B)/gptqfs
	$(Q)B=$(B) contrib/demo.sh "$(MODEL)" "$(MNT)"

# ---- the CUDA plugin ----

# Compiled where there is nvcc, needed nowhere. PTX for every architecture the toolkit knows is embedded; the driver
# takes what suits the GPU. CUDA_ARCHS="75 90" for fewer.
NVCC ?= $(or $(shell command -v nvcc),$(wildcard /usr/local/cuda/bin/nvcc))
ifneq ($(filter cuda $(B)/cuda/%,$(MAKECMDGOALS)),)
ifeq ($(NVCC),)
$(error make cuda needs nvcc, of a CUDA toolkit (NVCC=/path/of/nvcc))
endif
CUDA_ARCHS ?= $(patsubst compute_%,%,$(shell $(NVCC) --list-gpu-arch))
cuda_home := $(realpath $(dir $(realpath $(NVCC)))..)
cuda_libs = $(wildcard $(cuda_home)/lib64/stubs/libcuda.so $(cuda_home)/lib/stubs/libcuda.so)
endif
cuda_ptx = $(CUDA_ARCHS:%=$(B)/cuda/%.ptx)

cuda: $(B)/cuda/gptqfs-cuda.so

$(B)/cuda/%.ptx: cuda/dequant.cu cuda/slice.h cuda/check/ptx.sh
	$(call say,NVCC,$@)
	$(Q)mkdir -p $(@D) && $(NVCC) -std=c++17 -O3 -fmad=false -ftz=false -Werror all-warnings -ptx -arch=compute_$* \
		-o $@ $< && cuda/check/ptx.sh $(NVCC) $* $@ $(@:.ptx=.log)

$(B)/cuda/kernels.fatbin: $(cuda_ptx)
	$(call say,FATBIN,$@)
	$(Q)$(dir $(NVCC))fatbinary -64 --create=$@ $(foreach a,$(CUDA_ARCHS),--image3=kind=ptx,sm=$(a),file=$(B)/cuda/$(a).ptx)

# The driver's functions, held against cuda.h and the toolkit's own libcuda.so.
$(B)/cuda/driver.checked: cuda/driver.h cuda/check/cuda_h.c
	$(Q)mkdir -p $(@D) && $(CC) $(CFLAGS) -MF $@.d -I$(cuda_home)/include -fsyntax-only cuda/check/cuda_h.c
	$(Q)for f in $$(sed -n 's/.*X(\(cu[A-Za-z0-9_]*\),.*/\1/p' cuda/driver.h); do \
		for l in $(cuda_libs); do nm -D $$l | grep -q " T $$f$$" || { echo "$$l lacks $$f"; exit 1; }; done; done
	$(Q)touch $@

$(B)/cuda/gptqfs-cuda.so: $(plugin_obj) cuda/image.S $(B)/cuda/kernels.fatbin $(B)/cuda/driver.checked
	$(call say,LD,$@)
	$(Q)$(CC) $(cuda_flags) -shared -DIMAGE='"$(B)/cuda/kernels.fatbin"' $(LDFLAGS) -MF $@.d -o $@ \
		$(plugin_obj) cuda/image.S

# ---- installing ----

packages := gcc make pkg-config libfuse3-dev fuse3 libcjson-dev nettle-dev bats clang libclang-rt-dev python3 python3-numpy attr \
	fish jq man-db procps tree util-linux zsh
packages_missing = $(shell for p in $(packages); do dpkg-query -W -f '$${db:Status-Status}\n' $$p 2>/dev/null | \
	grep -q '^installed$$' || echo $$p; done)

# For checking NEON's kernels elsewhere; make check skips them without.
deps-neon: packages += gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user

deps deps-neon:
	$(Q)missing="$(packages_missing)"; if [ -z "$$missing" ]; then :; \
	elif [ "$$(id -u)" = 0 ]; then apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
	else echo "missing packages; install them with:"; echo "  sudo apt-get install $$missing"; exit 1; fi

# mount -t gptqfs finds its helper only in /sbin, so the link is of use there with PREFIX=/usr; -t fuse.gptqfs needs none.
share := $(PREFIX)/share
units := $(PREFIX)/lib/systemd
install: $(B)/gptqfs
	install -D -m 755 $(B)/gptqfs $(DESTDIR)$(bindir)/gptqfs
	install -d $(DESTDIR)$(sbindir)
	ln -sfr $(DESTDIR)$(bindir)/gptqfs $(DESTDIR)$(sbindir)/mount.gptqfs
	install -D -m 644 contrib/gptqfs.1 $(DESTDIR)$(mandir)/man1/gptqfs.1
	install -D -m 644 contrib/completions/gptqfs.bash $(DESTDIR)$(share)/bash-completion/completions/gptqfs
	install -D -m 644 contrib/completions/_gptqfs $(DESTDIR)$(share)/zsh/site-functions/_gptqfs
	install -D -m 644 contrib/completions/gptqfs.fish $(DESTDIR)$(share)/fish/vendor_completions.d/gptqfs.fish
	for of in system user; do install -d $(DESTDIR)$(units)/$$of && sed 's|/usr/bin/gptqfs|$(bindir)/gptqfs|' \
		contrib/systemd/gptqfs@.service >$(DESTDIR)$(units)/$$of/gptqfs@.service || exit; done
	install -D -m 644 README.md $(DESTDIR)$(share)/doc/gptqfs/README.md
	install -D -m 644 contrib/systemd/mnt-llama.mount $(DESTDIR)$(share)/doc/gptqfs/examples/mnt-llama.mount
	$(if $(wildcard $(B)/cuda/gptqfs-cuda.so),install -D -m 644 $(B)/cuda/gptqfs-cuda.so $(DESTDIR)$(plugin))

uninstall:
	rm -f $(DESTDIR)$(bindir)/gptqfs $(DESTDIR)$(sbindir)/mount.gptqfs $(DESTDIR)$(mandir)/man1/gptqfs.1 \
		$(DESTDIR)$(share)/bash-completion/completions/gptqfs $(DESTDIR)$(share)/zsh/site-functions/_gptqfs \
		$(DESTDIR)$(share)/fish/vendor_completions.d/gptqfs.fish $(DESTDIR)$(units)/*/gptqfs@.service $(DESTDIR)$(plugin)
	rm -rf $(DESTDIR)$(share)/doc/gptqfs

clean:
	rm -rf build

.PHONY: all check fuzz bench interop cuda demo deps deps-neon install uninstall clean
.SECONDARY:
.DELETE_ON_ERROR:

-include $(core_obj:.o=.d) $(fs_obj:.o=.d) $(wildcard $(B)/tests/*.d $(B)/tests/*/*.d $(B)/pic/*/*.d \
	$(B)/fake/*.d $(B)/plugin/*.d $(B)/fake_cuda/*.d $(B)/fake_cuda/*/*.d)
