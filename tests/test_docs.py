"""What docs/protocol.md says is what the code does, and what the other documents name exists."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args

import msgspec
import pytest

from dagwidget import protocol as p
from dagwidget.protocol.limits import Limits

ROOT = Path(__file__).parent.parent
REFERENCE = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")

DIRECTIONS: dict[str, tuple[Any, Any]] = {
    "server → viewer": (p.decode_server, p.ServerMessage),
    "viewer → server": (p.decode_client, p.ClientMessage),
    "publisher → server": (p.decode_publisher, p.PublisherMessage),
    "server → publisher": (p.decode_reply, p.PublishReply),
}


OVER_HTTP = "The log over HTTP"


class Example(NamedTuple):
    """A JSON block of the reference, under a heading such as "### `bye` (server → viewer, server → publisher)"."""

    tag: str
    directions: list[str]
    text: str


def tag_of(message: type) -> str:
    return message.__struct_config__.tag


def blocks(section: str) -> list[str]:
    return re.findall(r"^```json\n(.*?)^```$", section, flags=re.DOTALL | re.MULTILINE)


def examples() -> Iterator[Example]:
    for section in re.split(r"^#+ ", REFERENCE, flags=re.MULTILINE)[1:]:
        heading, _, body = section.partition("\n")
        found = re.fullmatch(r"`(\w+)` \((.+)\)", heading)
        if heading == OVER_HTTP:
            continue
        for text in blocks(body):
            assert found is not None, f"an example under {heading!r}, which names no message and no direction"
            yield Example(found[1], found[2].split(", "), text)


EXAMPLES = list(examples())


def table(heading: str) -> list[list[str]]:
    """The cells of the first table that begins with this row, without the row."""
    lines = iter(REFERENCE.splitlines())
    next(line for line in lines if line == heading)
    next(lines)
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().strip("`") for cell in line.strip("|").split(" | ")])
    return rows


# --- Examples


@pytest.mark.parametrize("example", EXAMPLES, ids=[f"{example.tag}-{example.directions[0]}" for example in EXAMPLES])
def test_an_example_is_what_is_written_to_the_letter(example):
    whole = json.dumps(json.loads(example.text), ensure_ascii=False, separators=(",", ":"))
    for direction in example.directions:
        decode, union = DIRECTIONS[direction]
        [message] = decode(example.text)
        assert type(message) in get_args(union)
        assert tag_of(type(message)) == example.tag
        assert p.encode(message).decode() == whole


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_every_message_has_one_example_for_each_way_it_goes(direction):
    shown = [example.tag for example in EXAMPLES if direction in example.directions]
    assert sorted(shown) == sorted(tag_of(message) for message in get_args(DIRECTIONS[direction][1]))


def test_the_page_of_a_log_holds_events_to_the_letter():
    _, _, section = REFERENCE.partition(f"### {OVER_HTTP}\n")
    page = json.loads(blocks(section)[0])
    events = p.decode_server(json.dumps(page["events"]))
    assert json.loads(p.encode(events)) == page["events"]
    assert [event.seq for event in events] == [*range(page["after"] + 1, page["head"] + 1)]


def test_the_plain_events_come_first():
    events = [tag_of(message) for message in get_args(p.AnyEvent)]
    assert [example.tag for example in EXAMPLES if example.tag in events] == events
    assert events[: len(p.PLAIN_EVENTS)] == [tag_of(message) for message in p.PLAIN_EVENTS]


# --- Tables


def test_the_close_codes_are_those_of_the_code():
    assert table("| code | name | retry | meaning |") == [
        [str(row.code), row.name, "yes" if row.retry else "no", row.meaning] for row in p.CLOSE_CODES
    ]


def test_the_codes_of_answers_are_those_of_the_code():
    documented = [row[0] for row in table("| code | of | meaning |")]
    assert sorted(documented) == sorted(answer_codes())


def test_the_codes_of_the_rooms_errors_are_those_of_the_code():
    documented = [row[0] for row in table("| code | from | meaning |")]
    assert sorted(documented) == sorted(error_codes())


def test_the_limits_are_those_of_the_code():
    limits = msgspec.structs.asdict(Limits())
    assert [row[:2] for row in table("| limit | default | what it limits, and what happens beyond it |")] == [
        [name, f"{value:,}" if isinstance(value, int) else f"{value:,g}"] for name, value in limits.items()
    ]


def modules(folder: str) -> Iterator[ast.Module]:
    for path in sorted((ROOT / "dagwidget" / folder).rglob("*.py")):
        yield ast.parse(path.read_text(encoding="utf-8"))


def calls(folder: str) -> Iterator[tuple[str, ast.Call]]:
    for module in modules(folder):
        for node in ast.walk(module):
            if isinstance(node, ast.Call):
                yield getattr(node.func, "attr", getattr(node.func, "id", "")), node


def constants(nodes: list[ast.expr]) -> set[str]:
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def codes_in(call: ast.Call) -> set[str]:
    return constants([keyword.value for keyword in call.keywords if keyword.arg == "code"])


def answer_codes() -> set[str]:
    """What a server gives as the `code` of a `command_ack`."""
    codes: set[str] = set()
    for name, call in calls("server"):
        codes |= constants(call.args[1:2]) if name == "refuse" else set()
        codes |= codes_in(call) if name == "CommandAck" else set()
    for module in modules("server"):
        for function in module.body:
            if isinstance(function, ast.FunctionDef) and function.name == "refusal":
                returned = [node.value for node in ast.walk(function) if isinstance(node, ast.Return)]
                codes |= constants([value.elts[0] for value in returned if isinstance(value, ast.Tuple)])
    return codes


def error_codes() -> set[str]:
    """What the server, or a publisher's transport, gives as the `code` of an `error`."""
    codes: set[str] = set()
    for folder in ("protocol", "server", "publisher"):
        for name, call in calls(folder):
            codes |= codes_in(call) if name == "RunError" else set()
            codes |= constants(call.args[:1]) if name == "warn" and len(call.args) == 3 else set()
    return codes


# --- Every document

DOCUMENTS = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")] + sorted(
    (ROOT / "docs").glob("*.md")
)
MAPS = [ROOT / "CONTRIBUTING.md", ROOT / "docs" / "architecture.md", ROOT / "docs" / "glossary.md"]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def prose(path: Path) -> str:
    """A document without its code blocks."""
    return re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(path: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", prose(path), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def paths_in(path: Path) -> list[str]:
    """The files and folders that a document names: `dagwidget/server/room.py`, `dagwidget/server/room.py:publish`."""
    quoted = re.findall(r"`([\w./:-]+)`", prose(path))
    return [found for found in quoted if re.match(r"(dagwidget|js|tests|docs|notebooks|benchmarks|\.\w+)/", found)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_link_leads_somewhere(document):
    for target in re.findall(r"\]\(([^)]+)\)", prose(document)):
        if target.startswith("https:"):
            continue
        file, _, anchor = target.partition("#")
        leads_to = document.parent / file if file else document
        assert leads_to.exists(), target
        assert not anchor or anchor in anchors(leads_to), target


@pytest.mark.parametrize("document", MAPS, ids=name_of)
def test_every_path_exists(document):
    assert paths_in(document)
    for named in paths_in(document):
        file, _, name = named.partition(":")
        assert (ROOT / file).exists(), named
        assert (ROOT / file).is_dir() == named.endswith("/"), named
        assert not name or re.search(rf"^ *(def|class) {name}\b", (ROOT / file).read_text(), re.MULTILINE), named


def test_the_floor_plan_has_every_part():
    named = {file.partition(":")[0] for file in paths_in(ROOT / "docs" / "architecture.md")}
    python = [
        path
        for path in (ROOT / "dagwidget").iterdir()
        if (path / "__init__.py").exists() or (path.suffix == ".py" and path.stem != "__init__")
    ]
    front_end = [path for path in (ROOT / "js" / "src").iterdir() if path.is_dir() and path.name != "view"]
    views = [path for path in (ROOT / "js" / "src" / "view").iterdir() if path.is_dir()]
    assert {name_of(path) + ("/" if path.is_dir() else "") for path in [*python, *front_end, *views]} <= named


def test_the_glossary_is_sorted_and_every_term_has_a_place():
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \|$", prose(ROOT / "docs" / "glossary.md"), re.MULTILINE)[2:]
    terms = [term for term, _, _ in rows]
    assert len(terms) > 20
    assert terms == sorted(terms, key=str.lower)
    assert [term for term, meaning, where in rows if not meaning.endswith(".") or "`" not in where] == []
