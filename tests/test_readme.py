"""What the README shows exists: commands, options, names, keys. tests/browser/test_readme.py runs its Python blocks."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest

import dagwidget
from dagwidget.cli.main import _parser
from dagwidget.publisher import Run
from dagwidget.publisher.node import NodeExecution

from .readme import README, ROOT, blocks

CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
KEYS = (ROOT / "js" / "src" / "view" / "panels" / "keys.ts").read_text(encoding="utf-8")
LINES = [line.split("#")[0].strip() for block in blocks("console") for line in block.splitlines()]


def code() -> str:
    """Everything that the README shows as Python: blocks, and inline code."""
    return "\n".join([*blocks("python"), *re.findall(r"(?<!`)`([^`\n]+)`(?!`)", README)])


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("dagwidget ")])
def test_a_command_takes_its_arguments(line):
    assert _parser().parse_args(shlex.split(line)[1:])


@pytest.mark.parametrize(
    "target", sorted(set(re.findall(r"(?:^|`)make ([a-z-]+)", README + CONTRIBUTING, re.MULTILINE)))
)
def test_a_make_target_exists(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_installing_comes_before_the_first_python_block():
    assert 0 < README.index("pip install") < README.index("make demo") < README.index("```python")


@pytest.mark.parametrize("block", blocks("python"))
def test_a_python_block_is_a_cell(block):
    compile(block, "README.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize(
    ("variable", "owner"),
    [("dagwidget", dagwidget), ("w", dagwidget.DAGStreamWidget), ("run", Run), ("node", NodeExecution)],
)
def test_a_name_exists(variable, owner):
    names = set(re.findall(rf"\b{variable}\.([a-z_]+)", code()))
    assert names
    assert [name for name in sorted(names) if not hasattr(owner, name) and not is_attribute(owner, name)] == []


def is_attribute(owner: object, name: str) -> bool:
    """Whether instances have it, or it is a submodule."""
    package = Path(dagwidget.__file__).parent
    if owner is dagwidget:
        return (package / name).is_dir() or (package / f"{name}.py").is_file()
    return f"    {name}:" in (owner.__doc__ or "")


def test_the_keys_are_those_of_the_widget():
    listed = re.search(r"^const KEYS\b.*?^\];$", KEYS, re.DOTALL | re.MULTILINE)
    assert listed is not None
    _, _, section = README.partition("| key | action |\n| --- | --- |\n")
    rows = re.match(r"(?:\|.*\n)+", section)
    assert rows is not None
    shown = [tuple(cell.strip().replace("`", "") for cell in row[2:-2].split(" | ")) for row in rows[0].splitlines()]
    assert shown == re.findall(r'\["(.+?)", "(.+?)"\]', listed[0])
