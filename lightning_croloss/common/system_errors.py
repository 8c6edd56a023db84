"""What the system answers of files, in place of doing what was asked: the lists that say what an error is."""

from __future__ import annotations

import errno

#: No space is left: the disk or the quota is full.
FULL = (errno.ENOSPC, errno.EDQUOT)
#: Why nothing more is written: that, a file that may not grow, a disk that fails or a terminal that is gone.
CANNOT_WRITE = (*FULL, errno.EFBIG, errno.EIO)
#: What any work on this machine would meet: that, a disk that can only be read, too many open files.
OF_THE_MACHINE = (*CANNOT_WRITE, errno.EROFS, errno.EMFILE, errno.ENFILE)
#: What is said of a file by no class of errors of its own: that, a network folder that is gone, a path that
#: no file can have.
OF_FILES = (*OF_THE_MACHINE, errno.ESTALE, errno.ENAMETOOLONG, errno.ELOOP)

__all__ = ["CANNOT_WRITE", "FULL", "OF_FILES", "OF_THE_MACHINE"]
