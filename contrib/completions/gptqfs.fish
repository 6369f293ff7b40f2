# SPDX-License-Identifier: MIT
# Completions of gptqfs for fish. Options and their values are those of gptqfs --help.

function __gptqfs_help
    set -l words (commandline -opc)
    $words[1] --help 2>/dev/null
end

# "word<TAB>meaning" from the rows of the help: the words of -o, or the others.
function __gptqfs_rows
    __gptqfs_help | string match -r '^    -.*' | while read -l line
        set -l parts (string match -r '^ *(-.*?)  +(.*)$' -- $line)
        test (count $parts) = 3; or continue
        for word in (string split ', ' -- $parts[2])
            set -l name (string replace -r '=.*' '=' -- $word)
            if string match -q -- '-o *' $word
                test "$argv[1]" = -o; and echo (string replace -- '-o ' '' $name)\t$parts[3]
            else
                test "$argv[1]" = -o; or echo (string replace -r ' .*' '' -- $name)\t$parts[3]
            end
        end
    end | string match -v '...*'
end

# The values of one option: paths, if the help's word for them says so, or those of its line "NAME: VALUE...".
function __gptqfs_values
    if __gptqfs_help | string match -qr -- "(--|-o )$argv[1]=(DIR|FILE)"
        __fish_complete_path (string replace -r '.*=' '' -- (commandline -ct)) | string replace -r '\t.*' ''
    else
        __gptqfs_help | string replace -rf "^$argv[1]: " '' | string split ' '
    end
end

# Completions after -o: words, or the values of the word being typed, each with the text before it.
function __gptqfs_mount_options
    set -l token (commandline -ct)
    set -l before (string replace -r '[^,]*$' '' -- $token)
    set -l last (string replace -r '.*,' '' -- $token)
    if string match -q '*=*' -- $last
        set -l name (string replace -r '=.*' '' -- $last)
        printf '%s\n' $before$name=(__gptqfs_values $name)
    else
        printf '%s\n' $before(__gptqfs_rows -o)
    end
end

function __gptqfs_has_command
    contains -- -- (commandline -opc)
end

function __gptqfs_after_o
    test (commandline -opc)[-1] = -o
end

function __gptqfs_dashes
    set -l token (commandline -ct)
    if string match -q -- '--*=*' $token
        set -l name (string replace -r '^--(.*?)=.*' '$1' -- $token)
        printf '%s\n' --$name=(__gptqfs_values $name)
    else
        __gptqfs_rows
        printf '%s\t%s\n' -o 'mount options'
    end
end

complete -c gptqfs -f
complete -c gptqfs -n 'not __gptqfs_has_command; and __gptqfs_after_o' -a '(__gptqfs_mount_options)'
complete -c gptqfs -n 'not __gptqfs_has_command; and string match -q -- "-*" (commandline -ct)' -a '(__gptqfs_dashes)'
complete -c gptqfs -n 'not __gptqfs_has_command; and not __gptqfs_after_o' -a '(__fish_complete_directories)'
complete -c gptqfs -n __gptqfs_has_command -a '(__fish_complete_subcommand)'
