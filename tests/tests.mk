# Test programs and the targets that run them: make check, faults, soak, fuzz, bench, interop.

# make check TESTS="unit mount" builds and runs only these folders. Long steps come before short ones, so
# that no CPU is idle at the end.
TESTS ?= $(if $(filter thread,$(SAN)),mount model unit,includes unit mount kernel model random faults soak cuda fuzz packages)
# needs_X: prerequisites of tests/X.
needs_mount := $(B)/gptqfs $(B)/hammer $(B)/handles
needs_packages := $(B)/gptqfs

check:
	$(Q)B=$(B) SAN=$(SAN) FUZZ_SECONDS=$(FUZZ_SECONDS) FUZZ_CC=$(FUZZ_CC) QEMU_NEON=$(if $(neon_check),$(QEMU_NEON)) \
		tests/run.sh $(TESTS)

$(B)/hammer $(B)/handles: $(B)/%: $(B)/tests/mount/%.o
	$(call say,LD,$@)$(CC) $(LDFLAGS) -o $@ $^ -pthread

# A server that tries what a sandbox forbids.
tried := status_get_attribute target_complete gptqfs_trim poll syscall fstat fstatat ops pagecache_ops face_next
needs_mount += $(B)/gptqfs-try

$(B)/tests/mount/try.o: override CFLAGS += $(FUSE_CFLAGS)

$(B)/gptqfs-try: $(fs_obj) $(B)/tests/mount/try.o $(B)/libgptqfs.a
	$(call say,LD,$@)$(CC) $(LDFLAGS) $(tried:%=-Wl,--wrap=%) -o $@ $^ $(FUSE_LIBS) $(LIBS)

# ---- faults ----

# Wrappers for C library calls that fail on demand.
wrapped := malloc calloc realloc reallocarray aligned_alloc posix_memalign strdup strndup asprintf __asprintf_chk \
	vasprintf __vasprintf_chk free \
	open openat __open_2 __openat_2 syscall fopen realpath readlinkat __readlinkat_chk access stat fstat fstatat \
	fdopendir readdir read __read_chk pread __pread_chk mmap munmap pthread_create \
	write pwrite pwritev ftruncate mkdir mkdirat renameat unlinkat fchmod flock fsync syncfs
needs_faults := $(B)/gptqfs $(B)/sweep $(B)/gptqfs-faulty

$(B)/sweep: $(B)/tests/faults/sweep.o $(B)/tests/faults/image.o $(B)/tests/faults/wrap.o $(B)/libgptqfs.a
	$(call say,LD,$@)$(CC) $(LDFLAGS) $(wrapped:%=-Wl,--wrap=%) -o $@ $^ $(LIBS)

$(B)/gptqfs-faulty: $(fs_obj) $(B)/tests/faults/wrap.o $(B)/libgptqfs.a
	$(call say,LD,$@)$(CC) $(LDFLAGS) $(wrapped:%=-Wl,--wrap=%) -o $@ $^ $(FUSE_LIBS) $(LIBS)

# All cases of all kernels, including NEON under qemu and emulated CUDA. Takes an hour; make check runs a sample.
kernels: $(needs_kernel) $(needs_cuda)
	$(Q)B=$(B) SAN=$(SAN) SHARE=100 QEMU_NEON=$(if $(neon_check),$(QEMU_NEON)) tests/run.sh kernel cuda

# All faults instead of a sample.
faults: $(needs_faults)
	$(Q)B=$(B) SAN=$(SAN) FAULT_EVERY=1 tests/run.sh faults

# ---- soak ----

# Hours of use and abuse; SOAK_SCALE percent of them. make check has a few seconds of each test.
SOAK_SCALE ?= 100
needs_soak := $(B)/gptqfs $(B)/test_random $(B)/test_families
soak: $(needs_soak) $(needs_faults)
	$(Q)$(if $(SAN),,$(MAKE) --no-print-directory SAN=thread B=$(B)/san-thread all)
	$(Q)B=$(B) SOAK_SCALE=$(SOAK_SCALE) SOAK_MINUTES=$(SOAK_MINUTES) tests/soak/run.sh $(SOAK)

# ---- unit, random, model ----

# test_X in tests/unit or tests/model; test_random and test_families share tests/random.
test_names := $(basename $(notdir $(wildcard tests/unit/test_*.c)))
needs_unit := $(test_names:%=$(B)/%)
needs_random := $(B)/test_random $(B)/test_families
needs_model := $(B)/test_model $(B)/test_late $(B)/test_erofs $(B)/test_accel

$(B)/test_random: $(patsubst %.c,$(B)/%.o,$(wildcard tests/random/gptq/*.c))
$(B)/test_families: $(patsubst %.c,$(B)/%.o,$(wildcard tests/random/families/*.c))
$(B)/test_random $(B)/test_families: $(patsubst %.c,$(B)/%.o,$(wildcard tests/random/*.c)) $(B)/libgptqfs.a
	$(call say,LD,$@)$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(B)/libgptqfs.a $(LIBS)

$(B)/test_%: $(B)/tests/unit/test_%.o $(B)/libgptqfs.a
	$(call say,LD,$@)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

$(B)/test_%: $(B)/tests/model/test_%.o $(B)/libgptqfs.a
	$(call say,LD,$@)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

$(B)/test_loop: $(B)/fs/serve/loop.o
$(B)/tests/unit/test_loop.o: override CFLAGS += $(FUSE_CFLAGS)

# ---- kernel ----

kernel_src := $(filter-out core/kernel/accel%,$(call below,core/kernel,c)) core/base/dtype.c
check_src := $(filter-out %/fake_plugin.c,$(wildcard tests/kernel/*.c))
needs_kernel := $(B)/check_kernel
needs_cuda := $(B)/check_kernel

$(B)/check_kernel: $(check_src:%.c=$(B)/%.o) $(B)/libgptqfs.a
	$(call say,LD,$@)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

# NEON kernels on other machines, if there are a cross compiler and qemu-user.
NEON_CC := $(if $(filter aarch64%,$(machine)),,$(shell command -v aarch64-linux-gnu-gcc))
QEMU_NEON := $(shell command -v qemu-aarch64 || command -v qemu-aarch64-static)
neon_check := $(if $(SAN),,$(and $(NEON_CC),$(QEMU_NEON),$(B)/neon/check_kernel))
needs_kernel += $(neon_check)

neon_flags = $(filter-out -fcf-protection -mssse3,$(CFLAGS))

$(B)/neon/%.o: %.c
	$(call say,NEON,$<)mkdir -p $(@D) && $(NEON_CC) $(neon_flags) -c -o $@ $<

$(B)/neon/check_kernel: $(patsubst %.c,$(B)/neon/%.o,$(check_src) $(filter-out %_avx2.c %_avx512.c,$(kernel_src)))
	$(call say,NEON,$@)$(NEON_CC) $(neon_flags) -o $@ $^ -lm

# Accelerator plugins that are good or bad in one way each; they use the CPU's kernels.
fakes := good slow wrong late partial closed version size no_symbol hollow foreign stale
fake_plugins := $(fakes:%=$(B)/fake/%.so)
needs_model += $(fake_plugins)
needs_mount += $(fake_plugins)

$(B)/fake/%.so: tests/kernel/fake_plugin.c $(kernel_src:%.c=$(B)/%.o)
	$(call say,LD,$@)mkdir -p $(@D) && $(CC) $(CFLAGS) -fPIC -shared -fvisibility=hidden \
		-DFAKE=$(shell echo $* | tr a-z A-Z) -DFAKE_EXPORTS=$(if $(filter no_symbol,$*),0,1) \
		$(LDFLAGS) -MF $@.d -o $@ $(filter %.c %.o,$^) -lm

# ---- the CUDA plugin without a GPU ----

# Runs the plugin on a libcuda.so.1 whose kernels are cuda/dequant.cu compiled for this CPU. There is another
# libcuda.so.1 for each mutant of that file, which the tests must catch.
fake_cuda := $(B)/fake_cuda/gptqfs-cuda.so $(B)/fake_cuda/libcuda.so.1
mutants := $(patsubst tests/cuda/%.sed,%,$(wildcard tests/cuda/*.sed))
mutant_drivers := $(mutants:%=$(B)/fake_cuda/%/libcuda.so.1)
fake_driver_obj := $(patsubst tests/cuda/%.c,$(B)/fake_cuda/%.o,$(filter-out %/kernels.c,$(wildcard tests/cuda/*.c)))
fake_driver_link = $(CC) -shared -Wl,-soname,libcuda.so.1 $(LDFLAGS) -pthread
# A mutant of the host side that does not wait before overwriting data in transfer.
impatient := $(B)/fake_cuda/impatient.so
needs_cuda += $(fake_cuda) $(mutant_drivers)
needs_model += $(fake_cuda) $(impatient)
needs_mount += $(fake_cuda)

$(B)/fake_cuda/gptqfs-cuda.so: $(plugin_obj) cuda/image.S
	$(call say,LD,$@)mkdir -p $(@D) && echo 'no kernels' >$@.image && $(CC) $(cuda_flags) -shared -DIMAGE='"$@.image"' \
		$(LDFLAGS) -MF $@.d -o $@ $(filter %.o %.S,$^)

# Emulated kernels are too slow without -O1, and the thread sanitizer does not support fibers.
$(B)/fake_cuda/%.o $(mutant_drivers): override CFLAGS += -O2
$(B)/fake_cuda/block.o $(B)/fake_cuda/kernels.o $(mutant_drivers): override CFLAGS += \
	$(if $(filter thread,$(SAN)),-fno-sanitize=thread)

$(B)/fake_cuda/impatient/columns.c: tests/cuda/host/impatient.sed cuda/columns.c
	$(Q)mkdir -p $(@D) && sed -f $< cuda/columns.c >$@ && ! cmp -s cuda/columns.c $@

$(impatient): $(B)/fake_cuda/impatient/columns.c $(filter-out %/columns.o,$(plugin_obj)) cuda/image.S | \
		$(B)/fake_cuda/gptqfs-cuda.so
	$(call say,LD,$@)$(CC) $(cuda_flags) -shared -DIMAGE='"$(B)/fake_cuda/gptqfs-cuda.so.image"' $(LDFLAGS) \
		-MF $@.d -o $@ $(filter %.c %.o %.S,$^)

$(B)/fake_cuda/%.o: tests/cuda/%.c
	$(call say,CC,$<)mkdir -p $(@D) && $(CC) $(CFLAGS) -fPIC -Icuda -c -o $@ $<

$(B)/fake_cuda/libcuda.so.1: $(fake_driver_obj) $(B)/fake_cuda/kernels.o
	$(call say,LD,$@)$(fake_driver_link) -o $@ $^

$(B)/fake_cuda/%/dequant.cu: tests/cuda/%.sed cuda/dequant.cu
	$(Q)mkdir -p $(@D) && sed -f $< cuda/dequant.cu >$@ && ! cmp -s cuda/dequant.cu $@

$(B)/fake_cuda/%/libcuda.so.1: $(B)/fake_cuda/%/dequant.cu tests/cuda/kernels.c $(fake_driver_obj)
	$(call say,LD,$@)$(CC) $(CFLAGS) -fPIC -I$(@D) -Icuda -MF $@.d -c -o $(@D)/kernels.o tests/cuda/kernels.c && \
		$(fake_driver_link) -o $@ $(@D)/kernels.o $(fake_driver_obj)

# ---- fuzz ----

fuzz_targets := $(patsubst tests/fuzz/fuzz_%.c,%,$(filter-out %/fuzz_main.c,$(wildcard tests/fuzz/fuzz_*.c)))
FUZZ_SECONDS ?= $(if $(filter fuzz,$(MAKECMDGOALS)),60,3)
# libFuzzer needs clang. Without clang, make check only runs the seeds.
FUZZ_CC := $(shell command -v clang)
FUZZ_SAN := fuzzer,address,undefined
# A third of a run's time would go into reports of integer comparisons, of which inputs made of text have no use (those of
# strings are still seen), and more into checks of pointers that the address sanitizer or the processor makes too.
fuzz_flags := -fno-sanitize-coverage=trace-cmp -fno-sanitize=null,object-size,pointer-overflow
needs_fuzz := $(if $(SAN),,$(fuzz_targets:%=$(B)/fuzz_%))

ifeq ($(FUZZ_CC),)
# All of the library, so that coverage tells of files that no target needs.
$(B)/fuzz_%: $(B)/tests/fuzz/fuzz_%.o $(B)/tests/fuzz/fuzz_main.o $(B)/libgptqfs.a
	$(call say,FUZZ,$@)$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) \
		-Wl,--whole-archive $(B)/libgptqfs.a -Wl,--no-whole-archive $(LIBS)
else
$(B)/fuzz_%: tests/fuzz/fuzz_%.c $(wildcard tests/fuzz/*.h) $(B)/fuzz/libgptqfs.a
	$(call say,FUZZ,$@)mkdir -p $(@D) && clang -std=gnu11 -D_GNU_SOURCE -O1 -g -Wall -Wextra -Werror -Icore \
		-fsanitize=$(FUZZ_SAN) $(fuzz_flags) -o $@ $< $(B)/fuzz/libgptqfs.a $(LIBS)

ifeq ($(SAN),)
# Built by one make before all targets that need it. Kernels only have checks of memory, and these as calls: with all
# checks inline and counters at all their edges, they would take longer to compile than everything else.
fuzz_simd := -fno-sanitize=undefined,fuzzer-no-link -mllvm -asan-instrumentation-with-call-threshold=0
$(B)/fuzz/libgptqfs.a: $(core_src) $(core_headers)
	$(Q)$(MAKE) --no-print-directory CC=clang SAN=$(subst fuzzer,fuzzer-no-link,$(FUZZ_SAN)) B=$(B)/fuzz \
		CFLAGS="-O1 -g1" simd_flags="$(fuzz_simd)" $@ && touch $@
endif
endif

# Kernels have tens of thousands of edges, and no input decides which are taken.
ifneq ($(findstring fuzzer-no-link,$(SAN)),)
override CFLAGS += $(fuzz_flags)
$(kernel_src:%.c=$(B)/%.o): override CFLAGS += -fno-sanitize=fuzzer-no-link
endif

# FUZZ_RUNS executions of each target, or FUZZ_SECONDS seconds; FUZZ_CORPUS is kept.
FUZZ_CORPUS ?= $(B)/corpus
fuzz: $(needs_fuzz)
	$(Q)B=$(B) FUZZ_SECONDS=$(FUZZ_SECONDS) FUZZ_RUNS=$(FUZZ_RUNS) FUZZ_CORPUS=$(FUZZ_CORPUS) tests/fuzz/table.sh \
		$(or $(FUZZ),$(fuzz_targets))

# Lines of core/ that the corpora reach.
fuzz-coverage:
	$(Q)$(MAKE) --no-print-directory CC=clang B=$(B)/coverage FUZZ_CC= LDFLAGS=-fprofile-instr-generate \
		CFLAGS="-O1 -g1 -fprofile-instr-generate -fcoverage-mapping" $(fuzz_targets:%=$(B)/coverage/fuzz_%)
	$(Q)B=$(B) FUZZ_CORPUS=$(FUZZ_CORPUS) tests/fuzz/coverage.sh $(fuzz_targets)

# ---- bench and interop ----

bench_programs := $(B)/bench_null $(B)/bench_null_erofs $(B)/bench_reader $(B)/bench_pin_memory

$(B)/bench_null: tests/bench/null_fuse.c fs/serve/loop.c
$(B)/bench_null_erofs: tests/bench/null_erofs.c fs/serve/loop.c
$(B)/bench_reader: tests/bench/reader.c
$(B)/bench_pin_memory: tests/bench/pin_memory.c
$(bench_programs):
	$(call say,CC,$@)mkdir -p $(@D) && $(CC) $(CFLAGS) -Ifs $(FUSE_CFLAGS) -MF $@.d -o $@ $(filter %.c,$^) $(FUSE_LIBS) -pthread

bench: $(B)/gptqfs $(B)/check_kernel $(bench_programs)
	$(Q)B=$(B) tests/bench/run.sh $(BENCH)

interop: $(B)/gptqfs wheel
	$(Q)B=$(B) tests/interop/run.sh

# Pages of gptqfs report in headless Chromium (Debian's chromium and chromium-driver; the rest is from PyPI).
report-check: $(B)/gptqfs
	$(Q)B=$(B) tests/report/run.sh

# ----

# Everything that make check needs, for make -j; and what make bench needs, so that it does not break unnoticed.
programs: $(foreach t,$(TESTS),$(needs_$(t))) $(if $(SAN),,$(bench_programs))
check: programs

.PHONY: check programs kernels faults soak fuzz fuzz-coverage bench interop report-check

-include $(wildcard $(B)/tests/*/*.d $(B)/tests/random/*/*.d $(B)/neon/*/*/*.d $(B)/fake/*.d $(B)/fake_cuda/*.d $(B)/fake_cuda/*/*.d $(B)/*.d)
