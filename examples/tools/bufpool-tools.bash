# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

# Completion for the tools. The options are those that --help lists.

_bufpool_tools()
{
    local cur prev words cword
    _init_completion || return

    case $prev in
        --max-memory | --buffer-size | --buffers | --workers | --port | --timeout)
            return
            ;;
        --check)
            _filedir
            return
            ;;
        --forward)
            _known_hosts_real -c -- "$cur"
            compopt -o nospace
            return
            ;;
    esac

    if [[ $cur == -* ]]; then
        COMPREPLY=($(compgen -W '$(_parse_help "$1")' -- "$cur"))
        [[ ${COMPREPLY-} != *= ]] || compopt -o nospace 2>/dev/null
    elif [[ ${1##*/} != bufpool-relay ]]; then
        _filedir
    fi
} &&
    complete -F _bufpool_tools bufpool-digest bufpool-relay bufpool-monitor
