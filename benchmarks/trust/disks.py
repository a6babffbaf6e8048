"""Small disks, which fill and can be made larger: tmpfs, where this user may mount one."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


class MayNotMount(Exception):
    """This user may not mount anything; nothing can be measured here."""


@contextmanager
def small(folder: Path, n_bytes: int) -> Iterator[Callable[[int], None]]:
    """A disk of `n_bytes` at `folder`; calling what is given makes it so large."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={n_bytes}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        raise MayNotMount(f"mounting a small disk at {folder} is not allowed")

    def resize(n: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={n}", str(folder)], check=True)

    try:
        yield resize
    finally:
        # Lazily: a process that is still ending may hold a file open.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
