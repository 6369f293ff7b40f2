# Packages. Everything that leaves this directory is in $(B)/release and depends only on the sources and the
# versions of Debian's packages: two builds are equal bit for bit.
#
#   make static     one static program         make static-arm64
#   make deps-packages      what they need

version := $(shell sed -n 's/^.define GPTQFS_VERSION "\(.*\)"$$/\1/p' core/gptqfs.h)
release := $(B)/release
packaging := contrib/packaging
native := $(shell dpkg --print-architecture 2>/dev/null)

# As uname -m has them, for Debian's names of architectures.
machine_amd64 := x86_64
machine_arm64 := aarch64
static_name = gptqfs-$(version)-linux-$(machine_$(1))

deps-packages: packages := dpkg-dev debhelper lintian debootstrap fakeroot gcc make pkg-config libfuse3-dev fuse3 \
	libcjson-dev libpcre2-dev nettle-dev patch python3 xz-utils gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user

# ---- the static program ----

# A build of its own in $(B)/static/ARCH, with headers and libraries of Debian's packages in $(B)/sysroot/ARCH.
static: $(release)/$(call static_name,$(native))
static-arm64: $(release)/$(call static_name,arm64)

prefix_of = $(if $(filter-out $(native),$(1)),$(machine_$(1))-linux-gnu-)

$(B)/sysroot/%/done: $(packaging)/sysroot.sh $(packaging)/cjson.sha256
	$(call say,APT,$(@D))CC=$(call prefix_of,$*)gcc AR=$(call prefix_of,$*)ar $(packaging)/sysroot.sh $* $(@D)
	$(Q)touch $@

$(B)/static/%/licenses: $(packaging)/licenses.sh LICENSE $(B)/sysroot/%/done
	$(Q)mkdir -p $(@D) && $(packaging)/licenses.sh $* $(B)/sysroot/$* >$@

# The inner make knows what is out of date.
$(B)/static/%/gptqfs: $(B)/static/%/licenses $(B)/sysroot/%/done FORCE
	$(call say,STATIC,$@)env -u LDFLAGS PKG_CONFIG_SYSROOT_DIR=$(CURDIR)/$(B)/sysroot/$* \
		PKG_CONFIG_LIBDIR=$(CURDIR)/$(B)/sysroot/$*/pkgconfig \
		$(MAKE) --no-print-directory B=$(@D) CC=$(call prefix_of,$*)gcc AR=$(call prefix_of,$*)ar SAN= \
		CFLAGS='-O2 -g -fPIE -DGPTQFS_STATIC -ffile-prefix-map=$(CURDIR)=.' LDFLAGS='-static-pie -Wl,--build-id=none' \
		LICENSES=$(@D)/licenses $@

define static_rule
$(release)/$(call static_name,$(1)): $(B)/static/$(1)/gptqfs
	$$(Q)mkdir -p $$(@D) && $(call prefix_of,$(1))strip -o $$@ $$<
endef
$(foreach a,amd64 arm64,$(eval $(call static_rule,$(a))))

FORCE:
.PHONY: deps-packages static static-arm64 FORCE
