#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Installation; agreement of help, man page and completions on options; and mounts by mount(8).

load lib

MAN=$ROOT/contrib/gptqfs.1

# install_to DIR ARGUMENT...: make install without rebuilding (-o): these do not test the build.
install_to() {
	local to=$1

	shift
	env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS make -s -C "$ROOT" -o "$GPTQFS" B="$(dirname "$GPTQFS")" DESTDIR="$to" "$@"
}

# Options as spelled by help, one per line: -f, -j, --cpu=LEVEL, -o view=NAME.
spellings() {
	"$GPTQFS" --help | awk -F '  +' '/^    -/ { gsub(", ", "\n", $2); print $2 }' | grep -vxF -e '-o ...' | sed '/^-[^o]/s/ .*//'
}

# ---- make install ----

@test "make install installs everything, and uninstall removes it" {
	to=$BATS_TEST_TMPDIR/root
	install_to "$to" PREFIX=/usr install
	# The plugin where it was built (make cuda).
	[[ ! -e $(dirname "$GPTQFS")/cuda/gptqfs-cuda.so ]] || rm "$to/usr/lib/gptqfs/gptqfs-cuda.so"
	diff - <(cd "$to" && find . ! -type d | LC_ALL=C sort) <<'END'
./usr/bin/gptqfs
./usr/lib/systemd/system/gptqfs@.service
./usr/lib/systemd/user/gptqfs@.service
./usr/sbin/mount.gptqfs
./usr/share/bash-completion/completions/gptqfs
./usr/share/doc/gptqfs/README.md
./usr/share/doc/gptqfs/examples/mnt-llama.mount
./usr/share/fish/vendor_completions.d/gptqfs.fish
./usr/share/man/man1/gptqfs.1
./usr/share/zsh/site-functions/_gptqfs
END
	[[ $("$to/usr/sbin/mount.gptqfs" --version) = "$("$GPTQFS" --version)" ]]
	[[ $(readlink "$to/usr/sbin/mount.gptqfs") = ../bin/gptqfs ]]
	grep -q "^ExecStart=/usr/bin/gptqfs " "$to/usr/lib/systemd/system/gptqfs@.service"
	# Without root, fusermount3 needs privileges.
	diff "$to"/usr/lib/systemd/{user,system}/gptqfs@.service | grep -q "^> NoNewPrivileges=yes"
	run ! grep -E "^(NoNew|Capab|Restrict|SystemCall|Lock|IP)" "$to/usr/lib/systemd/user/gptqfs@.service"
	install_to "$to" PREFIX=/usr uninstall
	[[ -z $(find "$to" ! -type d) ]]
	install_to "$to" install
	grep -q "^ExecStart=/usr/local/bin/gptqfs " "$to/usr/local/lib/systemd/user/gptqfs@.service"
}

# ---- one table of options ----

@test "the man page lists exactly the options of the help, with defaults" {
	# Bold and italic are backspaces without a terminal.
	MANWIDTH=200 man -l "$MAN" 2>/dev/null | col -bx >"$BATS_TEST_TMPDIR/man"
	sed -n '/^OPTIONS/,/^FILES OF/p' "$BATS_TEST_TMPDIR/man" >"$BATS_TEST_TMPDIR/options"
	grep -oE '^ {7}-.*' "$BATS_TEST_TMPDIR/options" | sed 's/^ *//; s/  .*//; s/ [A-Z].*//; s/, /\n/g' | LC_ALL=C sort >"$BATS_TEST_TMPDIR/in_man"
	diff <(spellings | LC_ALL=C sort) "$BATS_TEST_TMPDIR/in_man"
	# (32m), (1024): the row of the help and the paragraph of the man page have the same.
	"$GPTQFS" --help | grep -oE '^    -.*\([0-9]+[kmg]?\)' | grep -v max_read | while read -r row; do
		option=$(sed 's/^\(-o \)\{0,1\}//; s/=.*//' <<<"$row")
		grep -A3 -e "[ -]$option=" "$BATS_TEST_TMPDIR/options" | grep -qF "(${row##*(}" || fail "$option: ${row##*(} is not in the man page"
	done
}

@test "README lists exactly the options of the help, with defaults" {
	"$GPTQFS" --help >"$BATS_TEST_TMPDIR/help"
	grep -E '^\| `-' "$ROOT/README.md" >"$BATS_TEST_TMPDIR/rows"
	# `-o uid=,gid=,umask=` and `-o max_read=N` alike.
	grep -oE '`-[^`]*`' "$BATS_TEST_TMPDIR/rows" | tr -d '`' | sed 's/^-o //; s/^-*//' | tr ',' '\n' |
		sed 's/[= ].*//' | grep -vx '\.\.\.' | sort -u >"$BATS_TEST_TMPDIR/in_readme"
	# Of two spellings one will do.
	while read -r option; do
		grep -qE "^    (.*, )?(-o |--?)$option([=, ]|\$)" "$BATS_TEST_TMPDIR/help" || fail "README has $option, and help does not"
	done <"$BATS_TEST_TMPDIR/in_readme"
	grep '^    -' "$BATS_TEST_TMPDIR/help" | sed 's/^ *//; s/  .*//' | grep -vx -e '-o \.\.\.' | while read -r option; do
		sed 's/, /\n/g' <<<"$option" | sed 's/^-o //; s/^-*//; s/[= ].*//' | grep -qxFf "$BATS_TEST_TMPDIR/in_readme" || fail "README lacks $option"
	done
	for view in $(sed -n 's/^view: //p' "$BATS_TEST_TMPDIR/help"); do
		grep -qF "${view%/*}" "$ROOT/README.md" || fail "README does not tell of view $view"
	done
	grep -E '\([0-9]+[kmg]?\)' "$BATS_TEST_TMPDIR/rows" | while read -r row; do
		name=$(sed -E 's/^\| `(-o |--)?([a-z_]+).*/\2/' <<<"$row") default=$(grep -oE '\([0-9]+[kmg]?\)' <<<"$row" | head -1)
		grep -E "^    .*[ -]$name=" "$BATS_TEST_TMPDIR/help" | grep -qF "$default" || fail "$name: $default is not the default of the help"
	done
}

@test "the man page is clean, of this version, and complete on files, signals and exit codes" {
	for tool in man mandoc; do
		command -v $tool >/dev/null || continue
		case $tool in
		man) run -0 --separate-stderr env LC_ALL=C.UTF-8 man -l --warnings "$MAN" ;;
		mandoc) run -0 --separate-stderr mandoc -T lint -W warning "$MAN" ;;
		esac
		[[ -z $stderr ]] || fail "$stderr"
	done
	grep -q "\"$("$GPTQFS" --version | cut -d, -f1)\"" "$MAN"
	for code in 0 1 2 3 4 5; do
		sed -n '/^.SH EXIT/,/^.SH EX/p' "$MAN" | grep -qx "\.B $code"
	done
	for view in $("$GPTQFS" --help | sed -n 's/^view: //p'); do
		grep -qE "^\.BR? .*${view%/*}" "$MAN" || fail "the man page does not tell of view $view"
	done
}

# bash_completes LINE: prints the completions, sorted.
bash_completes() {
	cat >"$BATS_TEST_TMPDIR/complete" <<'END'
source "$1/contrib/completions/gptqfs.bash"
compopt() { :; } # only within a completion of readline's
COMP_LINE=$2 COMP_POINT=${#2}
# Words as split by readline.
COMP_WORDBREAKS=$' \t\n"\'><=;|&(:'
read -ra COMP_WORDS <<<"${2//=/ = }"
[[ $2 != *[\ =] ]] || COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_gptqfs
printf '%s\n' "${COMPREPLY[@]}"
END
	PATH=$BATS_TEST_TMPDIR/bin:$PATH bash "$BATS_TEST_TMPDIR/complete" "$ROOT" "$1" | LC_ALL=C sort -u
}

fish_completes() {
	PATH=$BATS_TEST_TMPDIR/bin:$PATH HOME=$BATS_TEST_TMPDIR fish --no-config -c "source '$ROOT/contrib/completions/gptqfs.fish'
		complete -C '$1'" | cut -f1 | LC_ALL=C sort
}

# zsh asks before long lists, folds similar entries into one line, and draws: so its rows are requested directly.
zsh_rows() {
	PATH=$BATS_TEST_TMPDIR/bin:$PATH zsh -f -c '
		help=$(gptqfs --help); words=(gptqfs ""); CURRENT=2; PREFIX=
		_files() { }
		source "$1/contrib/completions/_gptqfs"
		_gptqfs_rows $2' zsh "$ROOT" "$1" | sed 's/:.*//' | LC_ALL=C sort
}

completion_setup() {
	command -v "$1" >/dev/null || skip "needs $1"
	mkdir -p "$BATS_TEST_TMPDIR/bin"
	ln -s "$GPTQFS" "$BATS_TEST_TMPDIR/bin/gptqfs"
	spellings | sed 's/=.*/=/' | grep -v '^-o ' | LC_ALL=C sort >"$BATS_TEST_TMPDIR/options"
	spellings | sed -n 's/=.*/=/; s/^-o //p' | LC_ALL=C sort >"$BATS_TEST_TMPDIR/words"
	[[ $(wc -l <"$BATS_TEST_TMPDIR/options") -gt 8 && $(wc -l <"$BATS_TEST_TMPDIR/words") -gt 8 ]]
	views=$("$GPTQFS" --help | sed -n 's/^view: //p' | tr ' ' '\n' | LC_ALL=C sort)
}

@test "bash completes every option of the help, views and values" {
	completion_setup bash
	diff <(bash_completes "gptqfs -") <((echo -o && cat "$BATS_TEST_TMPDIR/options") | LC_ALL=C sort)
	diff <(bash_completes "gptqfs -o ") "$BATS_TEST_TMPDIR/words"
	[[ $(bash_completes "gptqfs -o direct_io,vi") = "direct_io,view=" ]]
	[[ $(bash_completes "gptqfs -o view=") = "$views" ]]
	[[ $(bash_completes "gptqfs -o direct_io,view=fp") = $'fp16\nfp32' ]]
	[[ $(bash_completes "gptqfs --cpu=ss") = ssse3 ]]
	[[ $(bash_completes "gptqfs model mnt -- bash") = *bash* ]]
	mkdir "$BATS_TEST_TMPDIR/some_dir"
	[[ $(bash_completes "gptqfs $BATS_TEST_TMPDIR/some") = "$BATS_TEST_TMPDIR/some_dir" ]]
	[[ $(bash_completes "gptqfs --export=$BATS_TEST_TMPDIR/some") = "$BATS_TEST_TMPDIR/some_dir" ]]
	[[ $(bash_completes "gptqfs -o direct_io,lora=$BATS_TEST_TMPDIR/some") = "$BATS_TEST_TMPDIR/some_dir" ]]
}

@test "fish completes every option of the help, views and values" {
	completion_setup fish
	# Long options are offered after a second dash.
	diff <((fish_completes "gptqfs -" && fish_completes "gptqfs --") | LC_ALL=C sort -u) \
		<((echo -o && cat "$BATS_TEST_TMPDIR/options") | LC_ALL=C sort)
	diff <(fish_completes "gptqfs -o ") "$BATS_TEST_TMPDIR/words"
	[[ $(fish_completes "gptqfs -o direct_io,vi") = "direct_io,view=" ]]
	[[ $(fish_completes "gptqfs -o view=") = "$(sed 's/^/view=/' <<<"$views")" ]]
	[[ $(fish_completes "gptqfs --cpu=ss") = --cpu=ssse3 ]]
	mkdir "$BATS_TEST_TMPDIR/some_dir"
	[[ $(fish_completes "gptqfs --export=$BATS_TEST_TMPDIR/some") = "--export=$BATS_TEST_TMPDIR/some_dir/" ]]
}

@test "zsh completes every option of the help" {
	completion_setup zsh
	zsh -n "$ROOT/contrib/completions/_gptqfs"
	diff <(zsh_rows "") "$BATS_TEST_TMPDIR/options"
	diff <(zsh_rows -o) "$BATS_TEST_TMPDIR/words"
}

# ---- systemd ----

@test "systemd accepts the units" {
	command -v systemd-analyze >/dev/null || skip "needs systemd-analyze"
	to=$BATS_TEST_TMPDIR/root
	install_to "$to" PREFIX="$to/usr" DESTDIR= install
	cp "$to/usr/lib/systemd/system/gptqfs@.service" "$BATS_TEST_TMPDIR/gptqfs@llama.service"
	for unit in "$BATS_TEST_TMPDIR/gptqfs@llama.service" "$to/usr/share/doc/gptqfs/examples/mnt-llama.mount"; do
		run -0 systemd-analyze verify --man=no "$unit"
		[[ $output != *gptqfs@* && $output != *mnt-llama* ]] || fail "$output"
	done
	# A mount unit is named after its mountpoint.
	[[ $(systemd-escape --path --suffix=mount "$(sed -n 's/^Where=//p' "$ROOT/contrib/systemd/mnt-llama.mount")") = mnt-llama.mount ]]
}

# ---- mount(8) ----

# as_mount ARGUMENT...: as mount(8) runs its helper.
as_mount() {
	ln -sf "$GPTQFS" "$BATS_TEST_TMPDIR/mount.gptqfs"
	"$BATS_TEST_TMPDIR/mount.gptqfs" "$@" 3>&-
}

mounted_and_right() {
	grep -q " $mnt ro,nosuid,nodev.* - fuse.gptqfs $(realpath "$model") " /proc/self/mountinfo || fail "$(grep "$mnt" /proc/self/mountinfo)"
	cmp "$mnt/fp16/tokenizer.json" "$model/tokenizer.json"
}

@test "mount.gptqfs: the flags of mount(8), not of gptqfs" {
	make_checkpoint plain
	mkdir "$mnt"
	# -s would be one thread, and -f would stay.
	run -0 --separate-stderr as_mount "$model" "$mnt" -s -n -v -o rw,cache=1m -t fuse.gptqfs
	mounted_and_right
	find_server "$mnt"
	unmount "$mnt"
	# -f: everything but mounting, including errors.
	run -0 as_mount "$model" "$mnt" -f -o rw
	not_mounted "$mnt"
	run -2 as_mount "$BATS_TEST_TMPDIR/missing" "$mnt" -fv
	run -1 --separate-stderr as_mount "$model" "$mnt" -N /proc/1/ns/mnt
	[[ $stderr = *namespace* ]]
	run -1 --separate-stderr as_mount "$model" "$mnt" -o rw,nonsense
	[[ $stderr = *nonsense* ]]
	not_mounted "$mnt"
}

@test "options of fstab are understood, by either name" {
	make_checkpoint plain
	mkdir "$mnt"
	words=defaults,rw,ro,auto,noauto,user,nouser,users,user=me,owner,group,nofail,_netdev,x-systemd.automount
	words+=,x-systemd.requires=/models,X-mount.mkdir,comment=hello,dev,nodev,suid,nosuid,exec,noexec,async,sync,noatime
	words+=,atime,relatime,strictatime,lazytime,nodiratime,diratime,loud,silent,nomand,iversion
	for how in as_mount "$GPTQFS"; do
		run -0 --separate-stderr "$how" "$model" "$mnt" -o "$words" 3>&-
		mounted_and_right
		find_server "$mnt"
		unmount "$mnt"
	done
}

# in_namespace SCRIPT: as root, where gptqfs is installed as in /usr, with /etc/fstab in $BATS_TEST_TMPDIR/fstab.
in_namespace() {
	install_to "$BATS_TEST_TMPDIR/root" PREFIX=/usr install
	# mount(8) clears PATH, and the shell of mount.fuse3 then looks where the system has its programs.
	for name in gptqfs mount.gptqfs; do
		cp --remove-destination "$GPTQFS" "$BATS_TEST_TMPDIR/root/usr/sbin/$name"
	done
	cp -a /usr/sbin/mount.fuse* "$BATS_TEST_TMPDIR/root/usr/sbin/"
	[[ -e $BATS_TEST_TMPDIR/fstab ]] || : >"$BATS_TEST_TMPDIR/fstab"
	[[ -e /etc/fstab ]] || skip "needs an /etc/fstab to stand in for"
	mnt=$mnt model=$model in_private unshare -p -f --kill-child --mount-proc bash -c '
		set -e
		mount --bind "$1/fstab" /etc/fstab
		# What is in /usr/sbin is needed by nothing here; /sbin is a link to it.
		mount --bind "$1/root/usr/sbin" /usr/sbin
		is_right() { grep -q " $mnt ro,nosuid,nodev.* - fuse.gptqfs $model " /proc/self/mountinfo && cmp "$mnt/$1tokenizer.json" "$model/tokenizer.json"; }
		eval "$2"' bash "$BATS_TEST_TMPDIR" "$1" 3>&-
}

@test "mount -t fuse.gptqfs and mount -t gptqfs" {
	need_namespace
	[[ /sbin -ef /usr/sbin ]] || skip "needs /sbin to be /usr/sbin"
	make_checkpoint plain
	mkdir "$mnt"
	run -0 in_namespace 'for type in fuse.gptqfs gptqfs; do
			mount -t $type "$model" "$mnt"; is_right fp16/; umount "$mnt"
			mount -v -s -n -t $type -o view=bf16,nosuid,noatime "$model" "$mnt"; is_right ""; umount "$mnt"
			mount -f -t $type "$model" "$mnt"
			if is_right "" 2>/dev/null; then exit 1; fi
		done'
}

@test "/etc/fstab" {
	need_namespace
	[[ /sbin -ef /usr/sbin ]] || skip "needs /sbin to be /usr/sbin"
	make_checkpoint plain
	mv "$model" "$BATS_TEST_TMPDIR/a model"
	ln -s "a model" "$model"
	mkdir "$mnt" "$mnt-2"
	cat >"$BATS_TEST_TMPDIR/fstab" <<END
# source  place  type  options  dump  pass
$model $mnt fuse.gptqfs allow_other,view=bf16,nofail,x-systemd.requires=/models 0 0
${BATS_TEST_TMPDIR}/a\\040model $mnt-2 gptqfs defaults,noauto,user,_netdev 0 0
END
	run -0 in_namespace '
		mount -a -t fuse.gptqfs
		cmp "$mnt/tokenizer.json" "$model/tokenizer.json"
		grep -q " $mnt .*allow_other" /proc/self/mountinfo
		if grep -q " $mnt-2 " /proc/self/mountinfo; then exit 1; fi
		mount "$mnt-2"
		cmp "$mnt-2/fp16/tokenizer.json" "$model/tokenizer.json"
		umount "$mnt" "$mnt-2"'
}

@test "/etc/fstab: a comma in the path of an adapter" {
	need_namespace
	[[ /sbin -ef /usr/sbin ]] || skip "needs /sbin to be /usr/sbin"
	copy_model tiny-qwen2-4b-g64-asym
	adapter="$BATS_TEST_TMPDIR/an, adapter"
	cp -r "$TESTS/data/lora/adapters/qwen2-tied-head" "$adapter"
	mkdir "$mnt" "$mnt-2"
	option="lora=${adapter//,/\\,}:0.5,view=fp16"
	cat >"$BATS_TEST_TMPDIR/fstab" <<END
$model $mnt fuse.gptqfs ${option// /\\040} 0 0
$model $mnt-2 gptqfs ro,noauto,${option// /\\040} 0 0
END
	mount_model -o "$option" "$model" "$mnt"
	cp "$mnt/model.safetensors" "$BATS_TEST_TMPDIR/expected"
	unmount "$mnt"
	run in_namespace '
		mount -a -t fuse.gptqfs
		mount "$mnt-2"
		cmp "$mnt/model.safetensors" "$1/expected"
		cmp "$mnt-2/model.safetensors" "$1/expected"
		umount "$mnt" "$mnt-2"'
	[[ $status = 0 ]] || fail "$output"
}
