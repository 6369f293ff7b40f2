# Source style: clang-format and clang-tidy of Debian 12 (versions other than 14 format differently).

CLANG_FORMAT ?= clang-format-14
CLANG_TIDY ?= clang-tidy-14
style_c := $(foreach d,core fs cuda tests,$(call below,$(d),c))
style_src := $(style_c) $(foreach d,core fs cuda tests,$(call below,$(d),h))
style_obj := $(patsubst %.c,$(B)/%.o,$(filter-out cuda/%,$(style_c))) $(plugin_obj)

format:
	$(Q)$(CLANG_FORMAT) -i $(style_src)

format-check:
	$(Q)$(CLANG_FORMAT) --dry-run -Werror $(style_src)

# The compile commands of all objects, in the build directory, where clangd finds them.
compile_commands.json: $(B)/compile_commands.json

command := {"directory": "$(CURDIR)", "file": "\2", "command": "\1"},
$(B)/compile_commands.json: Makefile $(wildcard */*.mk) $(style_c)
	$(call say,JSON,$@)mkdir -p $(@D) && { echo [; \
		$(MAKE) -Bn V=1 --no-print-directory $(style_obj) | \
		sed -nE 's/[\"]/\\&/g; s|^mkdir -p [^ ]* && (.* -c -o [^ ]* ([^ ]*))$$|$(command)|p' | \
		sed '$$s/,$$//'; echo ]; } >$@

# Checks the program and the plugin, except files with intrinsics, which take minutes. A file is checked again when its
# object has been rebuilt. LINT_NODES=225000, clang's default, follows more paths through the largest functions, which
# takes 4 times as long; 75000 is that of its shallow mode.
LINT_NODES ?= 75000
lint_src := $(filter-out %_vector.c %_avx2.c %_avx512.c cuda/check/%,$(filter core/% fs/% cuda/%,$(style_c)))

clang_tidy = $(CLANG_TIDY) -p $(B) --quiet $(addprefix --extra-arg=,-Xclang -analyzer-config -Xclang max-nodes=$(LINT_NODES))

lint: $(lint_src:%.c=$(B)/lint/%.ok)

$(B)/lint/cuda/%.ok: cuda/%.c $(B)/plugin/%.o .clang-tidy | $(B)/compile_commands.json
	$(lint)
$(B)/lint/%.ok: %.c $(B)/%.o .clang-tidy | $(B)/compile_commands.json
	$(lint)
define lint
$(call say,LINT,$<)mkdir -p $(@D) && $(clang_tidy) $< 2>$@.log || { cat $@.log; exit 1; }
$(Q)touch $@
endef

.PHONY: format format-check compile_commands.json lint
