# SPDX-License-Identifier: MIT
# Completions of gptqfs for bash. Options and their values are those of gptqfs --help.

_gptqfs_help() {
	"${COMP_WORDS[0]/#\~/$HOME}" --help 2>/dev/null
}

# Spellings of options, one per line: -f, --cpu=, -o view=.
_gptqfs_spellings() {
	_gptqfs_help | awk -F '  +' '/^    -/ { gsub(", ", "\n", $2); print $2 }' | sed 's/=.*/=/; /^-[^o]/s/ .*//'
}

# -f, --check, --cpu=
_gptqfs_options() {
	_gptqfs_spellings | grep -v '^-o '
	echo -o
}

# view=, direct_io
_gptqfs_words() {
	_gptqfs_spellings | sed -n 's/^-o \([a-z]\)/\1/p'
}

# The values of one option, from its line "NAME: VALUE...".
_gptqfs_values() {
	_gptqfs_help | sed -n "s/^$1: //p"
}

# True if the value of an option is a path, by the help's word for it.
_gptqfs_is_path() {
	_gptqfs_help | grep -qE -- "(--|-o )$1=(DIR|FILE)"
}

# Prints the index of the first word of a command that starts before this word; fails if there is none.
_gptqfs_command() {
	local i

	for ((i = 1; i < COMP_CWORD; i++)); do
		[[ ${COMP_WORDS[i]} = -- ]] && echo $((i + 1)) && return
	done
	return 1
}

# Offers the values of an option that begin with `part`, each after `fixed`, the part of the current word that stays.
_gptqfs_offer_values() {
	local name=$1 fixed=$2 part=$3

	if _gptqfs_is_path "$name"; then
		mapfile -t COMPREPLY < <(compgen -f -P "$fixed" -- "$part")
		compopt -o filenames 2>/dev/null
	else
		_gptqfs_offer "$fixed" "$part" "$(_gptqfs_values "$name")"
	fi
}

# Offers those of `words` that begin with `part`, each after `fixed`, the part of the current word that stays.
_gptqfs_offer() {
	local fixed=$1 part=$2 words=$3 word

	COMPREPLY=()
	for word in $(compgen -W "$words" -- "$part"); do
		COMPREPLY+=("$fixed$word")
	done
	[[ ${#COMPREPLY[@]} != 1 || ${COMPREPLY[0]} != *= ]] || compopt -o nospace 2>/dev/null
}

_gptqfs() {
	local line=${COMP_LINE:0:COMP_POINT} cur previous=${COMP_WORDS[COMP_CWORD - 1]} at last fixed

	COMPREPLY=()
	if at=$(_gptqfs_command); then
		if declare -F _command_offset >/dev/null; then
			_command_offset "$at"
		else
			COMPREPLY=($(compgen -c -- "${COMP_WORDS[COMP_CWORD]}"))
		fi
		return
	fi
	# The word as it is typed: bash also breaks it at = and :.
	cur=${line##*[[:space:]]}
	[[ ${line% "$cur"} != *-o ]] || previous=-o
	if [[ $previous = -o || $cur = -o?* ]]; then
		last=${cur#-o}
		last=${last##*,}
		fixed=${cur%"$last"}
		if [[ $last = *=* ]]; then
			_gptqfs_offer_values "${last%%=*}" "$fixed${last%%=*}=" "${last#*=}"
		else
			_gptqfs_offer "$fixed" "$last" "$(_gptqfs_words)"
		fi
	elif [[ $cur = --*=* ]]; then
		last=${cur%%=*}
		_gptqfs_offer_values "${last#--}" "$last=" "${cur#*=}"
	elif [[ $cur = -* ]]; then
		_gptqfs_offer "" "$cur" "$(_gptqfs_options)"
	else
		COMPREPLY=($(compgen -d -- "$cur"))
		compopt -o filenames 2>/dev/null
		return
	fi
	# bash replaces only what follows the last = or :.
	if [[ $cur = *=* && $COMP_WORDBREAKS = *=* ]]; then
		COMPREPLY=("${COMPREPLY[@]#"${cur%=*}="}")
	fi
}

complete -F _gptqfs gptqfs
