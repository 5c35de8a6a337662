# fish completion of capstan. All that is known about commands and options comes from
# `capstan __complete`, so that this file needs no change when they change.
# SPDX-License-Identifier: BSD-3-Clause
function __capstan_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    for line in ($words[1] __complete $words[2..-1] "$current" 2>/dev/null)
        switch $line
            case ':file'
                __fish_complete_path "$current"
            case ':dir'
                __fish_complete_directories "$current" ''
            case '*'
                echo $line
        end
    end
end
complete -c capstan -f -a '(__capstan_complete)'
