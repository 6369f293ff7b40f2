# Build dependencies, installation, and a demonstration.

bindir ?= $(PREFIX)/bin
sbindir ?= $(PREFIX)/sbin
mandir ?= $(PREFIX)/share/man
share := $(PREFIX)/share
units := $(PREFIX)/lib/systemd

# ---- Debian packages ----

packages := gcc make pkg-config libfuse3-dev fuse3 libcjson-dev libpcre2-dev nettle-dev
packages += bats clang clang-format-14 clang-tidy-14 libclang-rt-dev python3 python3-numpy attr erofs-utils fish jq man-db procps rsync strace tree util-linux zsh
packages_missing = $(shell for p in $(packages); do dpkg-query -W -f '$${db:Status-Status}\n' $$p 2>/dev/null | \
	grep -q '^installed$$' || echo $$p; done)

# For checking the NEON kernels on other machines; optional for make check.
deps-neon: packages += gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user

deps deps-neon deps-packages:
	$(Q)missing="$(packages_missing)"; if [ -z "$$missing" ]; then :; \
	elif [ "$$(id -u)" = 0 ]; then apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
	else echo "missing packages; install them with:"; echo "  sudo apt-get install $$missing"; exit 1; fi

# ---- installing ----

# mount -t gptqfs finds its helper only in /sbin, so the link works only with PREFIX=/usr; -t fuse.gptqfs needs none.
install: $(B)/gptqfs
	install -D -m 755 $(B)/gptqfs $(DESTDIR)$(bindir)/gptqfs
	install -d $(DESTDIR)$(sbindir)
	ln -sfr $(DESTDIR)$(bindir)/gptqfs $(DESTDIR)$(sbindir)/mount.gptqfs
	install -D -m 644 contrib/gptqfs.1 $(DESTDIR)$(mandir)/man1/gptqfs.1
	install -D -m 644 contrib/completions/gptqfs.bash $(DESTDIR)$(share)/bash-completion/completions/gptqfs
	install -D -m 644 contrib/completions/_gptqfs $(DESTDIR)$(share)/zsh/site-functions/_gptqfs
	install -D -m 644 contrib/completions/gptqfs.fish $(DESTDIR)$(share)/fish/vendor_completions.d/gptqfs.fish
	install -d $(DESTDIR)$(units)/system $(DESTDIR)$(units)/user
	sed 's|/usr/bin/gptqfs|$(bindir)/gptqfs|' contrib/systemd/gptqfs@.service >$(DESTDIR)$(units)/system/gptqfs@.service
	sed '/^# What reads the model/,/^$$/d' $(DESTDIR)$(units)/system/gptqfs@.service >$(DESTDIR)$(units)/user/gptqfs@.service
	install -D -m 644 README.md $(DESTDIR)$(share)/doc/gptqfs/README.md
	install -D -m 644 contrib/systemd/mnt-llama.mount $(DESTDIR)$(share)/doc/gptqfs/examples/mnt-llama.mount
	$(if $(wildcard $(B)/cuda/gptqfs-cuda.so),install -D -m 644 $(B)/cuda/gptqfs-cuda.so $(DESTDIR)$(plugin))

uninstall:
	rm -f $(DESTDIR)$(bindir)/gptqfs $(DESTDIR)$(sbindir)/mount.gptqfs $(DESTDIR)$(mandir)/man1/gptqfs.1 \
		$(DESTDIR)$(share)/bash-completion/completions/gptqfs $(DESTDIR)$(share)/zsh/site-functions/_gptqfs \
		$(DESTDIR)$(share)/fish/vendor_completions.d/gptqfs.fish $(DESTDIR)$(units)/*/gptqfs@.service $(DESTDIR)$(plugin)
	rm -rf $(DESTDIR)$(share)/doc/gptqfs

# ---- looking around ----

MODEL ?= tests/data/models/tiny-llama-4b-g32-shard
MNT ?= $(B)/mnt

demo: $(B)/gptqfs
	$(Q)B=$(B) contrib/demo.sh "$(MODEL)" "$(MNT)"

.PHONY: deps deps-neon install uninstall demo
