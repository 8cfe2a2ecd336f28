"""Renews the lock files: `python tools/lock.py UV`, where UV is the path of the `uv` program.

What they fix is the same everywhere, so they hold hashes of what is installed, and not the address of a registry.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
PYTHON = ROOT / "requirements.lock"
NODE = (ROOT / "js", ROOT / "benchmarks" / "browser")


def main(uv: str) -> int:
    lock_python(uv)
    for folder in NODE:
        lock_node(folder)
    return 0


def lock_python(uv: str) -> None:
    """Everything that `make setup` installs, for each system and each Python that pyproject.toml allows."""
    options = ["--universal", "--python-version", "3.11", "--extra", "dev", "--upgrade"]
    form = ["--generate-hashes", "--no-emit-index-url", "--custom-compile-command", "make lock"]
    command = [uv, "pip", "compile", "--quiet", *options, *form, "--output-file", str(PYTHON), "pyproject.toml"]
    subprocess.run(command, cwd=ROOT, check=True)
    check(PYTHON, "://")


def lock_node(folder: Path) -> None:
    """In an empty folder: beside a `node_modules`, npm locks only the packages of the system that this is."""
    npm = shutil.which("npm") or "npm"
    with tempfile.TemporaryDirectory() as empty:
        for name in ("package.json", ".npmrc"):
            shutil.copy(folder / name, empty)
        subprocess.run([npm, "install", "--package-lock-only", "--ignore-scripts"], cwd=empty, check=True)
        # npm writes a lock file also where an optional package can't be found, and then refuses to install it.
        subprocess.run([npm, "ci", "--dry-run", "--ignore-scripts"], cwd=empty, check=True, stdout=subprocess.DEVNULL)
        shutil.copy(Path(empty) / "package-lock.json", folder)
    check(folder / "package-lock.json", '"resolved"')


def check(path: Path, address: str) -> None:
    if address in path.read_text(encoding="utf-8"):
        sys.exit(f"{path} names a registry: it contains {address!r}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
