"""A directory on the box from which root runs what is in it: whether others may change that.

Whoever can write to it, or to a directory above it, puts his own program in the helper's place.
"""

from __future__ import annotations

import shlex

SYSTEMS_OWN = "/run"
"""Root's by the system's own doing on every Linux: asking would cost each start a program."""
EVERYBODYS = frozenset({"/tmp", "/var/tmp", "/dev/shm"})  # noqa: S108 - so that they are refused
UNSAFE_STATUS = 42

# Prints why, or nothing. ``-O`` and ``-G`` (dash, bash, busybox) are about who runs this. Above the
# directory itself (l=0) the sticky bit is enough: nobody can exchange what is root's there.
_WHY = """\
at=$(cd -P -- {directory} 2>&-&&pwd -P)||echo it cannot be entered
l=1;while [ "$at" ];do set -- $(LC_ALL=C ls -ldn -- "$at")
[ "$3" = 0 ]||[ -O "$at" ]||{{ echo "user $3 owns $at";break;}}
case $l$1 in 0d????????[tT]*);;\
?d???????w*)echo "everybody may write to $at";break;;\
?d????w*)[ -G "$at" ]||{{ echo "group $4 may write to $at";break;}};;\
?d*);;*)echo "$at is $1";break;;esac
[ "$at" = / ]&&break;at=${{at%/*}};at=${{at:-/}};l=0;done"""


def why_unsafe(directory: str) -> str:
    """A script that prints, on one line, why nothing is to be run from ``directory``; nothing where
    only root, and who runs it, may change what is there. "" where that need not be asked."""
    if directory == SYSTEMS_OWN:
        return ""
    return _WHY.format(directory=shlex.quote(directory)).replace("\n", ";").replace("do;", "do ")


def guard(directory: str) -> str:
    """The beginning of a script that goes on only where that is so, or ends with UNSAFE_STATUS and
    a sentence on standard error. It uses up the script's arguments unless it is in a subshell."""
    why = why_unsafe(directory)
    if not why:
        return ""
    said = f"so root runs nothing from {directory} on the box"
    return (
        f"why=$({why});"
        f'[ -z "$why" ]||{{ echo "$why, "{shlex.quote(said)} >&2;exit {UNSAFE_STATUS};}}\n'
    )
