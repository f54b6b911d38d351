"""A Debian of its own in a folder, from Debian's packages: what a container's base and a machine to boot are made of."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

_CERTIFICATES = Path("usr/local/share/ca-certificates")
# What the base images leave out.
_LEFT_OUT = ("usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale")
_FORGOTTEN = ("var/lib/apt/lists", "var/cache/apt", "var/log")
_PIP = "[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n"


def make_tree(at: Path, suite: str, packages: Sequence[str] = ()) -> Path:
    """Bootstrap ``suite`` into the folder, as small as the base images are, with the certificates that this machine trusts: what
    is installed within comes from where this machine's comes from."""
    wanted = ",".join(("ca-certificates", *packages))
    run("debootstrap", "--variant=minbase", f"--include={wanted}", suite, at)
    rules = "".join(f"path-exclude /{left_out}/*\n" for left_out in _LEFT_OUT)
    (at / "etc/dpkg/dpkg.cfg.d/small").write_text(rules)
    for folder in (*_LEFT_OUT, *_FORGOTTEN):
        for entry in (at / folder).iterdir():
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    trusted = sorted(Path("/", _CERTIFICATES).glob("*.crt"))
    for certificate in trusted:
        shutil.copy(certificate, at / _CERTIFICATES)
    if trusted:
        run("chroot", at, "update-ca-certificates")
        (at / "etc/pip.conf").write_text(_PIP)
    return at


def run(*words: object, within_s: float = 600, **more: str) -> str:
    """Run a command that must succeed; what it prints. ``more``: standard input as ``said``."""
    done = subprocess.run(
        [str(word) for word in words],
        check=False,
        capture_output=True,
        text=True,
        timeout=within_s,
        input=more.get("said", ""),
    )
    assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout
