"""`python tools/other_versions.py lowest|latest UV`: the unit tests, with other versions than those of the lock files.

`lowest` takes the lowest versions that pyproject.toml and js/package.json allow, `latest` the newest that there are,
also where package.json does not allow them. Both work on a copy, in `.versions/`, with an environment of its own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
RESOLUTION = {"lowest": "lowest-direct", "latest": "highest"}


def main(which: str, uv: str) -> int:
    copy = ROOT / ".versions" / which
    shutil.rmtree(copy, ignore_errors=True)
    copy_sources(copy)
    install_node(copy / "js", which)
    python = install_python(copy, which, str(Path(uv).absolute()))
    commands = {
        "TypeScript": ([npm(), "test", "--silent"], copy / "js"),
        "Python": ([str(python), "-m", "pytest", "tests", "--ignore=tests/browser"], copy),
    }
    failed = [
        name
        for name, (command, folder) in commands.items()
        if subprocess.run(command, cwd=folder, check=False).returncode
    ]
    for name in commands:
        print(f"{name} with the {which} versions: {'failed' if name in failed else 'passed'}")
    return 1 if failed else 0


def copy_sources(copy: Path) -> None:
    """What is in Git, or would be."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in names.split("\0"):
        if name and (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)


def install_node(folder: Path, which: str) -> None:
    package = folder / "package.json"
    described = json.loads(package.read_text(encoding="utf-8"))
    wanted = described["devDependencies"]
    # Also of a package under another name: `npm:typescript@^7.0.2`.
    version = (r"[^@]+$", "*") if which == "latest" else (r"[\^~](?=\d)", "")
    described["devDependencies"] = {name: re.sub(*version, range_, count=1) for name, range_ in wanted.items()}
    package.write_text(json.dumps(described, indent=2), encoding="utf-8")
    (folder / "package-lock.json").unlink()
    subprocess.run([npm(), "install", "--no-package-lock", "--loglevel=error"], cwd=folder, check=True)
    print(f"Node {run('node', '--version', cwd=folder)}", flush=True)
    subprocess.run([npm(), "ls", "--depth=0"], cwd=folder, check=True)


def install_python(copy: Path, which: str, uv: str) -> Path:
    """Returns the path of the interpreter."""
    venv = copy / ".venv"
    subprocess.run([uv, "venv", "--quiet", "--seed", "--python", sys.executable, str(venv)], check=True)
    python = venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    command = [uv, "pip", "install", "--quiet", "--python", str(python), "--resolution", RESOLUTION[which]]
    subprocess.run([*command, "--editable", ".[dev]"], cwd=copy, check=True)
    print(f"Python {sys.version}", flush=True)
    subprocess.run([uv, "pip", "list", "--python", str(python)], check=True)
    return python


def npm() -> str:
    return shutil.which("npm") or "npm"


def run(*command: str, cwd: Path) -> str:
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
