"""Whose a file or directory of this machine is, and who else may change it: before it is believed.

Only root and the user who runs this may own what is trusted; a directory that others may write to
lets them put something else in the place of what was looked at.
"""

from __future__ import annotations

import os
import stat


def own(about: os.stat_result) -> bool:
    """Whether it is root's or this user's."""
    return about.st_uid in (0, os.geteuid())


def distrust(about: os.stat_result, *, group: bool = False) -> str:
    """Why what stands there is not to be believed; "" when it is.

    ``group``: its group may write to it. A directory that everybody may write to is good only with
    the sticky bit, and then its owner matters: the bit does not bind him.
    """
    mode = stat.S_IMODE(about.st_mode)
    if not group and mode & stat.S_IWGRP and about.st_gid not in (0, os.getegid()):
        return f"its group may write to it (mode {mode:04o})"
    sticky = stat.S_ISDIR(about.st_mode) and mode & stat.S_ISVTX
    if mode & stat.S_IWOTH and not sticky:
        return f"everybody may write to it (mode {mode:04o})"
    if not own(about) and not (group and mode & stat.S_IWGRP and not mode & stat.S_IWOTH):
        return f"it is user {about.st_uid}'s, and neither root's nor yours"
    return ""
