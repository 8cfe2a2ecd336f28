"""Nothing that comes over the wire is more than text, whichever field it comes in."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec.inspect as mi
import pytest
from playwright.sync_api import Browser, Route

import dagwidget
from dagwidget import protocol
from dagwidget.errors import DagwidgetError
from dagwidget.state import reduce
from dagwidget.visible import visible
from dagwidget.widget.export import snapshot
from tests.injections import LINKS, LONG, MARKUP, TEXTS

ORIGIN = "http://page.test"
STATIC = Path(dagwidget.__file__).parent / "widget" / "static"
FILES = {
    "/": Path(__file__).parents[1] / "pages" / "injection.html",
    "/widget.js": STATIC / "widget.js",
    "/details.js": STATIC / "details.js",
}
SIDE_BY_SIDE = 24

# Strings of the protocol that no place of the widget shows. A new field is in here, or on the screen.
UNSEEN = {
    "command_ack.id",
    "command_ack.winner.approvals.by",
    "command_ack.winner.approvals.feedback",
    "command_ack.winner.feedback",
    "command_ack.winner.value",
    "command_ack.winner.value:key",
    "cost_update.by_node:key",
    "cost_update.on_budget",
    "dag_mutated.mutation.remove_edges.label",
    "execution_state.capabilities.cancel",
    "execution_state.capabilities.gate",
    "execution_state.capabilities.pause",
    "execution_state.status",
    "garbage",
    "human_gate_resolved.approvals.by",
    "human_gate_resolved.approvals.feedback",
    "human_gate_resolved.decision",
    "human_gate_resolved.source",
    "human_gate_waiting.approvals.feedback",
    "human_gate_waiting.presentation.allowed",
    "human_gate_waiting.presentation.default",
    "human_gate_waiting.presentation.default:key",
    "human_gate_waiting.presentation.on_timeout",
    "human_gate_waiting.presentation.schema",
    "human_gate_waiting.presentation.schema:key",
    "node_state.status",
    "sync.epoch",
    "sync.log",
    "unknown",
    "welcome.dag_id",
    "welcome.epoch",
    "welcome.features",
    "welcome.limits:key",
    "welcome.log",
    "welcome.server",
}

Text = Callable[[str], str]


def filled(kind: mi.Type, text: Text, at: str = "", *, loose: bool = False) -> Any:
    """A value of `kind` with `text(path)` for each of its strings; where `loose`, also where only some words fit."""
    inside = {"text": text, "loose": loose}
    match kind:
        case mi.StructType(fields=fields, tag_field=tag_field, tag=tag):
            values = {f.encode_name: filled(f.type, at=f"{at}.{f.encode_name}".strip("."), **inside) for f in fields}
            return values | ({tag_field: tag} if tag_field else {})
        case mi.UnionType(types=types):
            return filled(next((one for one in types if isinstance(one, mi.StrType)), types[0]), at=at, **inside)
        case mi.ListType(item_type=item) | mi.VarTupleType(item_type=item):
            return [filled(item, at=at, **inside)]
        case mi.DictType(value_type=value):
            return {text(f"{at}:key"): filled(value, at=at, **inside), "__proto__": {"polluted": 1}}
        case mi.AnyType():
            return {text(f"{at}:key"): text(at), "__proto__": {"polluted": 1}, "constructor": {"prototype": 1}}
        case mi.LiteralType(values=values) if not loose:
            return next((word for word in ("running", "operate") if word in values), values[0])
        case mi.StrType(min_length=1):
            # What is said of one thing must name one thing.
            return text("id")
        case mi.StrType() | mi.LiteralType():
            return text(at)
        case mi.BoolType():
            return True
        case _:
            return 1


def message(cls: type, text: Text, *, loose: bool = False, **fields: Any) -> dict[str, Any]:
    kind = mi.type_info(cls)
    assert isinstance(kind, mi.StructType)
    # What a server infers, an engine has not said: it would change nothing. And what was cut is not asked for.
    values = filled(kind, text, str(kind.tag), loose=loose) | {"inferred": None, "output_cut": None} | fields
    return {name: value for name, value in values.items() if value is not None}


def run_of(given: Text) -> dict[str, Any]:
    """What a server and a kernel may say in a whole run, with `given(path)` in each of its strings."""

    def text(path: str) -> str:
        # What has a longer id is not drawn at all.
        return given(path)[:250] if path == "id" else given(path)

    final = (protocol.HumanGateResolved, protocol.ExecutionComplete)
    ongoing = [cls for cls in get_args(protocol.AnyEvent) if cls not in final]
    # What is removed is not seen: structure first, and once more without its removals.
    mutated = message(protocol.DagMutated, text)
    kept = {name: value for name, value in mutated["mutation"].items() if not name.startswith("remove_")}
    ongoing.remove(protocol.DagMutated)
    ack = message(protocol.CommandAck, text, ok=False)
    gate = message(protocol.HumanGateWaiting, text)
    gate["presentation"]["required"] = 2
    run = [
        mutated,
        {"type": "dag_mutated", "mutation": kept},
        message(protocol.NodeState, text, instance=None),
        *(message(cls, text) for cls in ongoing),
        # Who has approved is shown where more than one must.
        gate,
        {"type": text("unknown"), "node_id": text("unknown")},
    ]
    # A node is shown by its label, or by its id where that is blank.
    label = given("id") if given("id").strip() else text("id")
    return {
        "id": text("id"),
        "shown": visible(label),
        "titled": visible(given("id")),
        "dag_id": text("dag_id"),
        "greeting": [
            message(protocol.Welcome, text, protocol=1, now=None, expires_at=None),
            message(protocol.Sync, text, seq=0),
            message(protocol.Synced, text, seq=0),
        ],
        "run": run,
        "snapshot": saved(run),
        "loose": [message(cls, text, loose=True) for cls in [protocol.DagMutated, *ongoing]],
        "added": [{"type": "dag_mutated", "mutation": {"add_nodes": kept["add_nodes"]}}],
        "resolved": [message(protocol.HumanGateResolved, text, loose=loose) for loose in (False, True)],
        "complete": [message(protocol.ExecutionComplete, text)],
        "acks": [ack, ack | {"message": None}, ack | {"code": "already_decided"}],
        "refusals": [ack],
        "bye": message(protocol.Bye, text, code=4400, retry=False),
        "outputs": [
            {"type": "output", "node_id": text("id"), "text": json.dumps(text("output"))},
            {"type": "output", "node_id": text("id"), "fault": text("output fault")},
        ],
        "garbage": text("garbage"),
        "fault": {"type": "fault", "reason": text("fault")},
    }


def saved(run: list[dict[str, Any]]) -> dict[str, Any]:
    """What a notebook keeps of that run; empty where a kernel would take none of it."""
    try:
        return snapshot(reduce(protocol.decode_events(json.dumps(accepted(run)))))
    except DagwidgetError:
        return {}


def accepted(value: Any) -> Any:
    """A value without the keys that a kernel refuses."""
    if isinstance(value, list):
        return [accepted(item) for item in value]
    if isinstance(value, dict):
        return {key: accepted(item) for key, item in value.items() if key not in ("__proto__", "constructor")}
    return value


class Page:
    """The page that plays hostile servers, and everything that gives away that one of them got through."""

    def __init__(self, browser: Browser) -> None:
        self.page = browser.new_page(viewport={"width": 1000, "height": 800})
        self.strays: list[str] = []
        self.page.on("dialog", lambda dialog: (self.strays.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        self.page.on("popup", lambda popup: self.strays.append(f"popup: {popup.url}"))
        self.page.on("pageerror", lambda error: self.strays.append(f"error: {error}"))
        self.page.route("**/*", self._serve)
        self.open()

    def open(self) -> None:
        self.page.goto(f"{ORIGIN}/")
        self.page.wait_for_function("() => window.play")

    def _serve(self, route: Route) -> None:
        file = FILES.get(route.request.url.removeprefix(ORIGIN))
        if file:
            route.fulfill(path=file)
        else:
            self.strays.append(f"asked for {route.request.url}")
            route.abort()

    def play(self, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        # As JSON, so that what is no valid Unicode arrives as it is.
        return json.loads(self.page.evaluate("(json) => window.play(json)", json.dumps(runs)))


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = Page(browser)
    yield page
    page.page.close()


def test_no_text_becomes_more_than_text_whichever_field_it_comes_in(page):
    corpus = [*MARKUP, *LINKS, *TEXTS, *LONG]
    for start in range(0, len(corpus), SIDE_BY_SIDE):
        texts = corpus[start : start + SIDE_BY_SIDE]
        found = page.play([run_of(lambda _, text=text: text) for text in texts])
        for text, one in zip(texts, found, strict=True):
            assert one["alarms"] == [], text[:200]
            # In a picture of many frames the node may be too small to be pointed at.
            assert one["missing"] == [] or (text in LONG and one["missing"] == [".dw-tooltip strong"]), text[:200]
        assert page.strays == []


def test_every_string_of_the_protocol_is_shown_or_known_not_to_be(page):
    marks: dict[str, str] = {}

    def marked(path: str) -> str:
        return marks.setdefault(path, chr(0xAC00 + len(marks))) + "<img src onerror=__pwned()>"

    run = run_of(marked)
    [found] = page.play([run | {"marks": list(marks.values())}])
    assert found["alarms"] == page.strays == []
    assert {path for path, mark in marks.items() if mark not in found["seen"]} == UNSEEN


def test_the_alarm_rings_for_each_text_that_is_taken_for_html(page):
    found = page.page.evaluate("(texts) => window.parsed(texts)", MARKUP)
    assert [text for text, strangers in zip(MARKUP, found, strict=True) if not strangers] == []


@pytest.mark.parametrize(
    ("script", "alarm"),
    [
        ("document.body.innerHTML = '<img src=x onerror=__pwned()>'", "ran: "),
        ("document.body.innerHTML = '<img src=x onerror=alert(1)>'", "dialog: 1"),
        ("document.body.innerHTML = '<img src=//evil.test/x.png>'", "asked for http://evil.test/x.png"),
        ("document.body.innerHTML = '<a href=javascript:__pwned()>x</a>'; document.links[0].click()", "ran: "),
        ("document.body.innerHTML = '<p>a \\u202e b</p>'", "unseen in p."),
        ("document.body.innerHTML = '<p title=\"a \\x1b b\"></p>'", "unseen in p[title]"),
        ("document.createElement('canvas').getContext('2d').fillText('\\u200b', 0, 0)", "unseen in what is drawn"),
        ("Object.prototype.polluted = 1", "a prototype was polluted"),
        ("Promise.reject('lost')", "lost"),
    ],
)
def test_the_alarm_rings_for_what_a_text_does(page, script, alarm):
    page.page.evaluate(f"() => {{ {script} }}")
    heard: list[str] = []
    deadline = time.monotonic() + 5
    while alarm not in heard and time.monotonic() < deadline:
        page.page.wait_for_timeout(20)
        heard += page.page.evaluate("() => window.alarms()") + page.strays
    assert alarm in heard
