import { expect, test } from "vitest";
import { Model } from "../../../src/view/model/model";
import { placeholder } from "../../../src/view/model/placeholder";
import { emptyState, Fake, NOW, runningState } from "../helpers";

const shown = (fake: Fake) => placeholder(new Model(fake.options, () => NOW));

function noRun(url = "ws://127.0.0.1:8899/api/dags/my-dag/stream"): Fake {
  const fake = new Fake(emptyState({ epoch: "" }));
  fake.connection = { ...fake.connection, url };
  return fake;
}

test("nothing stands in place of nodes", () => {
  expect(shown(new Fake(runningState([{ id: "a", status: "running" }])))).toBeUndefined();
});

test("no run yet is said as that, with the lines to start one", () => {
  expect(shown(noRun())).toEqual({
    happened: "Connected. Waiting for the first run of my-dag.",
    next: "To start one, run this in a cell:",
    code: `import dagwidget

with dagwidget.start_run("my-dag", edges=[("load", "train")]) as run:
    with run.node("load"):
        pass
    with run.node("train") as node:
        node.output("done")`,
  });
});

test("a server on another machine is named in them", () => {
  expect(shown(noRun("wss://example.org/team/api/dags/my-dag/stream"))?.code).toContain(
    'edges=[("load", "train")], url="wss://example.org/team") as run:',
  );
});

test("a server that is none of ours gives events, not runs", () => {
  const fake = new Fake(emptyState());
  fake.connection = { ...fake.connection, resumable: false };
  expect(shown(fake)).toEqual({ happened: "Connected. Waiting for the first event of my-dag.", next: "" });
});

test.each([
  [runningState(), "No nodes yet."],
  [{ ...runningState(), status: "completed" as const }, "The run has ended. It had no nodes."],
])("a run without nodes is no missing run", (state, happened) => {
  expect(shown(new Fake(state))?.happened).toBe(happened);
});

test("without a connection it says what the connection says", () => {
  const fake = noRun();
  fake.connect({ phase: "syncing" });
  expect(shown(fake)?.happened).toBe("Loading the run…");
  fake.connect({ phase: "stopped", code: 4401, reason: "the token is missing or wrong" });
  expect(shown(fake)).toMatchObject({
    happened: "The server refused the connection: the token is missing or wrong (code 4401).",
    next: expect.stringContaining("token="),
  });
});
