// @vitest-environment jsdom
import { beforeEach, describe, expect, test } from "vitest";
import type { Engine } from "../../../src/protocol/messages";
import type { DagState, Gate } from "../../../src/state/types";
import { GatesPanel } from "../../../src/view/gate/list";
import { Model } from "../../../src/view/model/model";
import { ControlsPanel } from "../../../src/view/panels/controls";
import { EnginePanel } from "../../../src/view/panels/engine";
import { HeaderPanel } from "../../../src/view/panels/header";
import { emptyState, Fake, NOW, runningState } from "../helpers";

const MINUTE = 60_000;
const GONE: Engine = { type: "engine", state: "gone", since: NOW - MINUTE };
const HERE: Engine = { type: "engine", state: "connected", since: NOW };
const GATE: Gate = {
  gate_id: "g",
  node_id: "a",
  opened_at: NOW - 2 * MINUTE,
  presentation: { title: "Ship it?", deadline: NOW + MINUTE },
};

beforeEach(() => {
  document.body.replaceChildren();
  localStorage.clear();
});

/** What the head of a view says of a run. */
function head(state: DagState, engine?: Engine) {
  const fake = new Fake(state);
  fake.engine = engine;
  let now = NOW;
  const model = new Model(fake.options, () => now);
  const panels = {
    header: new HeaderPanel(model),
    engine: new EnginePanel(model),
    controls: new ControlsPanel(model),
    gates: new GatesPanel(
      model,
      () => {},
      () => {},
    ),
  };
  document.body.append(...Object.values(panels).map((panel) => panel.el));
  const update = (ms = 0) => {
    now += ms;
    for (const panel of Object.values(panels)) panel.update();
  };
  update();
  const text = (selector: string) => document.querySelector(selector)!.textContent;
  const button = (name: string) =>
    [...document.querySelectorAll("button")].find((one) => one.textContent === name && !one.closest("[hidden]"))!;
  return {
    fake,
    model,
    update,
    text,
    button,
    elapsed: () => text(".dw-elapsed"),
    hint: () => text(".dw-hint-text"),
    said: () => (panels.engine.el.hidden ? "" : panels.engine.el.textContent),
    off: (name: string) => (button(name).getAttribute("aria-disabled") === "true" ? button(name).title : undefined),
  };
}

describe("an engine that is gone", () => {
  test("is spoken of with the moment of its last word, by the viewer's clock", () => {
    const { fake, update, said } = head(runningState(), GONE);
    expect(said()).toBe("engine gone since 12:02");
    fake.connect({ ahead: 2 * MINUTE });
    update();
    expect(said()).toBe("engine gone since 12:00");
  });

  test("stops the clocks at its last word; they go on when it is back", () => {
    const { fake, update, elapsed, model, said } = head({ ...runningState(), started_at: NOW - 3 * MINUTE }, HERE);
    expect([elapsed(), model.moving]).toEqual(["3:00", true]);
    fake.engine = GONE;
    update(5 * MINUTE);
    expect([elapsed(), model.moving]).toEqual(["2:00", false]);
    fake.engine = { ...HERE, since: NOW + 6 * MINUTE };
    update(MINUTE);
    expect([elapsed(), model.moving, said()]).toEqual(["9:00", true, ""]);
  });

  test("does not stop the clocks of the server: a gate times out all the same", () => {
    const { fake, update, text } = head(runningState([], [GATE]), GONE);
    expect(text(".dw-countdown")).toBe("Expires in 1:00");
    update(30_000);
    expect(text(".dw-countdown")).toBe("Expires in 0:30");
    fake.state = runningState([], [GATE, { ...GATE, gate_id: "h", node_id: "b" }]);
    update();
    expect(text(".dw-gate-index")).toContain("waiting 2:30");
  });

  test("can't be asked for anything, and the buttons say why", () => {
    const { off, button, fake, hint } = head(runningState(), GONE);
    for (const name of ["Pause", "Cancel"]) expect(off(name)).toBe("The engine is gone since 12:02.");
    button("Pause").click();
    expect(fake.sent).toEqual([]);
    expect(hint()).toBe("The engine is gone since 12:02.");
  });

  test("takes decisions all the same, and the gate says that they wait for it", async () => {
    const { text, button, fake, update } = head(runningState([], [GATE]), GONE);
    const status = () => text(".dw-gate-status");
    expect(status()).toBe("The engine is away: your decision waits for it.");
    button("Approve").click();
    expect(fake.sent).toMatchObject([{ type: "human_decision", run_id: "e", gate_id: "g" }]);
    expect(status()).toBe("Your approval is sent, waiting for confirmation…");
    await fake.acknowledge({});
    expect(status()).toBe("Your approval is accepted. The engine is away: your decision waits for it.");
    fake.engine = HERE;
    update();
    expect(status()).toBe("Your approval is accepted.");
  });

  test("is nothing to one who looks at a run that is over, at a saved picture, or from an older server", () => {
    expect(head({ ...runningState(), status: "failed", ended_at: NOW }, GONE).said()).toBe("");
    expect(head(runningState(), undefined).said()).toBe("");
    const saved = new Fake(emptyState(), {
      snapshot: { status: "running", nodes: { a: { id: "a", status: "running" } } },
    });
    saved.engine = GONE;
    const panel = new EnginePanel(new Model(saved.options, () => NOW));
    panel.update();
    expect(panel.el.hidden).toBe(true);
  });
});

describe("an engine that is silent", () => {
  test("may be busy: it is spoken of, the clocks go on, and it can be asked", () => {
    const { said, off, elapsed, update } = head(runningState(), { type: "engine", state: "silent", since: NOW });
    expect(said()).toBe("engine silent since 12:03");
    expect(off("Pause")).toBeUndefined();
    update(MINUTE);
    expect(elapsed()).toBe("2:00");
  });
});

describe("giving a run up", () => {
  const lost = () => head({ ...runningState(), status: "lost" as const }, GONE);

  test("is offered where the engine is gone or the run is lost, and nowhere else", () => {
    expect(lost().text(".dw-word")).toBe("Lost");
    document.body.replaceChildren();
    expect(head(runningState(), GONE).button("Give up")).toBeDefined();
    document.body.replaceChildren();
    expect(head(runningState(), HERE).button("Give up")).toBeUndefined();
    document.body.replaceChildren();
    const { fake, off } = head(runningState(), GONE);
    fake.connect({ role: "view" });
    expect(off("Give up")).toBeUndefined();
  });

  test("is asked about first, and then said to the server for this run", () => {
    const { button, fake, hint, off } = lost();
    button("Give up").click();
    expect(document.activeElement).toBe(button("Keep waiting"));
    expect(hint()).toContain("Ends the run as cancelled, without its engine.");
    button("Keep waiting").click();
    expect(fake.sent).toEqual([]);
    expect(document.activeElement).toBe(button("Give up"));
    button("Give up").click();
    button("Give up the run").click();
    expect(fake.sent).toMatchObject([{ type: "cancel_execution", give_up: true, run_id: "e" }]);
    expect(off("Give up")).toBe("Giving up asked at 12:03, not confirmed.");
  });

  test("is no longer asked about once the engine is back", () => {
    const { button, fake, update } = lost();
    button("Give up").click();
    fake.engine = HERE;
    fake.state = runningState();
    update();
    expect([button("Give up the run"), button("Give up")]).toEqual([undefined, undefined]);
    expect(document.activeElement).toBe(button("Cancel"));
  });

  test("that is refused says why", async () => {
    const { button, fake, hint } = lost();
    button("Give up").click();
    button("Give up the run").click();
    await fake.acknowledge({ ok: false, message: "the engine is connected" });
    expect(hint()).toBe("Could not give up: the engine is connected");
  });
});

describe("what was asked and is not confirmed", () => {
  test("is said with its moment, until the engine has done it", () => {
    const { fake, hint, off, update, text } = head(
      { ...runningState(), status: "pausing", asked_at: NOW - MINUTE },
      HERE,
    );
    expect(hint()).toBe("Pause asked at 12:02, not confirmed.");
    expect(off("Resume")).toBe("Pause asked at 12:02, not confirmed.");
    expect(off("Cancel")).toBeUndefined();
    fake.state = { ...runningState(), status: "paused" };
    update();
    expect([hint(), text(".dw-word")]).toEqual(["", "Paused"]);
  });

  test("is said from the click on, before the server has said it", () => {
    const { button, off } = head(runningState(), HERE);
    button("Pause").click();
    expect(off("Pause")).toBe("Pause asked at 12:03, not confirmed.");
  });

  test("is said also where the engine has gone since, and without a moment where none is known", () => {
    const cancelling = { ...runningState(), status: "cancelling" as const };
    expect(head(cancelling, GONE).hint()).toBe("Cancel asked, not confirmed. The engine is gone since 12:02.");
    document.body.replaceChildren();
    expect(head({ ...cancelling, asked_at: NOW }, HERE).off("Cancel")).toBe("Cancel asked at 12:03, not confirmed.");
  });

  test("of another run is not said of this one", () => {
    const { button, fake, off, update } = head(runningState(), HERE);
    button("Pause").click();
    expect(fake.sent).toMatchObject([{ run_id: "e" }]);
    fake.state = { ...runningState(), epoch: "f" };
    update();
    expect(off("Pause")).toBeUndefined();
  });
});

describe("a button that was pressed as another run took the place of this one", () => {
  test("means the run that it was drawn for", () => {
    const { button, fake } = head(runningState([], [GATE]), HERE);
    fake.state = { ...runningState([], [GATE]), epoch: "f" };
    button("Approve").click();
    button("Pause").click();
    expect(fake.sent).toMatchObject([{ run_id: "e" }, { run_id: "e" }]);
  });

  test("and is refused after that says so all the same", async () => {
    const { button, fake, update, text } = head(runningState([], [GATE]), HERE);
    button("Approve").click();
    fake.state = { ...runningState(), epoch: "f" };
    update();
    await fake.acknowledge({ ok: false, message: "the run has ended" });
    expect(text(".dw-notices")).toContain("Ship it?: Refused: the run has ended");
  });
});
