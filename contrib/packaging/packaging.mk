# Packages. Everything that leaves this directory is in $(B)/release and depends only on the sources, SOURCE_DATE_EPOCH
# and the versions of Debian's packages: two builds are equal bit for bit.
#
#   make static     one static program         make deb        a Debian package
#   make wheel      the package for PyPI       make release    all of these for amd64 and arm64, with SHA-256 sums
#   make deps-packages      what they need     make check-packages   installs and uses them in fresh Debians; as root
#                                              make check-release    builds the release again and compares
#                                              make check-systemd    the service in a Debian that is booted; as root

version := $(shell sed -n 's/^.define GPTQFS_VERSION "\(.*\)"$$/\1/p' core/gptqfs.h)
epoch = SOURCE_DATE_EPOCH=$(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null || stat -c %Y contrib/CHANGELOG.md))
release := $(B)/release
packaging := contrib/packaging
native := $(shell dpkg --print-architecture 2>/dev/null)

# As uname -m has them, for Debian's names of architectures.
machine_amd64 := x86_64
machine_arm64 := aarch64
static_name = gptqfs-$(version)-linux-$(machine_$(1))
wheel_name = gptqfs-$(version)-py3-none-manylinux_2_17_$(machine_$(1)).manylinux2014_$(machine_$(1)).musllinux_1_1_$(machine_$(1)).whl

deps-packages: packages := dpkg-dev debhelper lintian debootstrap fakeroot gcc make pkg-config libfuse3-dev fuse3 \
	libcjson-dev libpcre2-dev nettle-dev patch python3 xz-utils gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user

# ---- sources ----

sources := $(release)/gptqfs-$(version).tar.xz

# Includes changes that are not committed, so it is made anew each time.
$(sources): FORCE
	$(call say,TAR,$@)$(epoch) $(packaging)/sources.sh gptqfs-$(version) $@

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
	$(call say,STATIC,$@)env -u LDFLAGS PKG_CONFIG_SYSROOT_DIR=$(abspath $(B)/sysroot/$*) \
		PKG_CONFIG_LIBDIR=$(abspath $(B)/sysroot/$*)/pkgconfig \
		$(MAKE) --no-print-directory B=$(@D) CC=$(call prefix_of,$*)gcc AR=$(call prefix_of,$*)ar SAN= \
		CFLAGS='-O2 -g -fPIE -DGPTQFS_STATIC -ffile-prefix-map=$(CURDIR)=.' LDFLAGS='-static-pie -Wl,--build-id=none' \
		LICENSES=$(@D)/licenses $@

define static_rule
$(release)/$(call static_name,$(1)): $(B)/static/$(1)/gptqfs
	$$(Q)mkdir -p $$(@D) && $(call prefix_of,$(1))strip -o $$@ $$<
$(release)/$(call wheel_name,$(1)): $(release)/$(call static_name,$(1)) FORCE
	$$(call say,WHEEL,$$@)$$(epoch) contrib/python/make_wheel.py $$< $$@
endef
$(foreach a,amd64 arm64,$(eval $(call static_rule,$(a))))

# ---- the wheel ----

wheel: $(release)/$(call wheel_name,$(native))
wheel-arm64: $(release)/$(call wheel_name,arm64)

# ---- Debian's packages ----

# Built in a copy of the sources, as Debian would. The package with the plugin is made where nvcc is.
deb: $(sources)
	$(call say,DEB,$(B)/deb)$(epoch) NVCC='$(NVCC)' $(packaging)/deb.sh $(version) $< $(B)/deb
	$(Q)cp $(B)/deb/*.deb $(release)/

# ---- all ----

release: clean-release
	$(Q)$(epoch) $(MAKE) --no-print-directory deb static static-arm64 wheel wheel-arm64
	$(Q)cd $(release) && sha256sum $$(ls | LC_ALL=C sort) >../SHA256SUMS && mv ../SHA256SUMS . && cat SHA256SUMS

clean-release:
	$(Q)rm -rf $(release)

check-packages:
	$(Q)B=$(B) tests/packages/install.sh

check-release:
	$(Q)B=$(B) tests/packages/reproduce.sh

check-systemd: $(B)/gptqfs
	$(Q)B=$(B) tests/packages/systemd.sh

FORCE:
.PHONY: deps-packages static static-arm64 wheel wheel-arm64 deb release clean-release check-packages check-release check-systemd FORCE
