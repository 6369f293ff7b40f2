# The optional CUDA plugin; needs nvcc. Embeds PTX for every architecture the toolkit knows, from which the driver
# selects; CUDA_ARCHS="75 90" for fewer.

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
cuda_flags = $(CFLAGS) -fPIC -fvisibility=hidden -Icuda
plugin_obj := $(patsubst cuda/%.c,$(B)/plugin/%.o,$(wildcard cuda/*.c))

cuda: $(B)/cuda/gptqfs-cuda.so

$(B)/plugin/%.o: cuda/%.c
	$(call say,CC,$<)mkdir -p $(@D) && $(CC) $(cuda_flags) -c -o $@ $<

$(B)/cuda/%.ptx: cuda/dequant.cu cuda/slice.h cuda/check/ptx.sh
	$(call say,NVCC,$@)mkdir -p $(@D) && $(NVCC) -std=c++17 -O3 -fmad=false -ftz=false -Werror all-warnings \
		-ptx -arch=compute_$* -o $@ $< && cuda/check/ptx.sh $(NVCC) $* $@ $(@:.ptx=.log)

$(B)/cuda/kernels.fatbin: $(cuda_ptx)
	$(call say,FATBIN,$@)$(dir $(NVCC))fatbinary -64 --create=$@ \
		$(foreach a,$(CUDA_ARCHS),--image3=kind=ptx,sm=$(a),file=$(B)/cuda/$(a).ptx)

# Compares driver.h with cuda.h and the toolkit's libcuda.so.
$(B)/cuda/driver.checked: cuda/driver.h cuda/check/cuda_h.c
	$(Q)mkdir -p $(@D) && $(CC) $(CFLAGS) -MF $@.d -I$(cuda_home)/include -fsyntax-only cuda/check/cuda_h.c
	$(Q)for f in $$(sed -n 's/.*X(\(cu[A-Za-z0-9_]*\),.*/\1/p' cuda/driver.h); do \
		for l in $(cuda_libs); do nm -D $$l | grep -q " T $$f$$" || { echo "$$l lacks $$f"; exit 1; }; done; done
	$(Q)touch $@

$(B)/cuda/gptqfs-cuda.so: $(plugin_obj) cuda/image.S $(B)/cuda/kernels.fatbin $(B)/cuda/driver.checked
	$(call say,LD,$@)$(CC) $(cuda_flags) -shared -DIMAGE='"$(B)/cuda/kernels.fatbin"' $(LDFLAGS) -MF $@.d -o $@ \
		$(plugin_obj) cuda/image.S

.PHONY: cuda

-include $(plugin_obj:.o=.d)
