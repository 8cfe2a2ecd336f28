// @vitest-environment jsdom
import fc from "fast-check";
import { beforeEach, expect, test } from "vitest";
import { changes } from "../../../src/view/gate/form/diff";
import { Draft } from "../../../src/view/gate/form/draft";
import { Form } from "../../../src/view/gate/form/form";
import { fits, isSchema } from "../../../src/view/gate/form/schema";
import { cpuSeconds } from "../../cpu";

beforeEach(() => {
  document.body.replaceChildren();
  localStorage.clear();
});

const NESTED = {
  type: "object",
  title: "Deployment",
  required: ["name", "replicas", "target", "tags"],
  properties: {
    name: { type: "string", minLength: 2, pattern: "^[a-z-]+$", description: "Lower case" },
    replicas: { type: "integer", minimum: 1, maximum: 9 },
    ratio: { type: "number", exclusiveMinimum: 0 },
    dry: { type: "boolean" },
    level: { enum: ["low", 2, null] },
    tags: { type: "array", items: { type: "string" }, maxItems: 2, uniqueItems: true },
    target: {
      oneOf: [{ $ref: "#/$defs/Cloud" }, { $ref: "#/$defs/Local" }],
      discriminator: { propertyName: "kind" },
    },
  },
  $defs: {
    Cloud: {
      type: "object",
      required: ["kind", "region"],
      properties: { kind: { const: "cloud" }, region: { type: "string" } },
    },
    Local: { type: "object", required: ["kind"], properties: { kind: { const: "local" }, port: { type: "integer" } } },
  },
};

function form(schema: unknown, ...starts: unknown[]) {
  const made = Form.of(schema, starts)!;
  document.body.append(made.el);
  const control = (label: string) => {
    const found = [...document.querySelectorAll("label")].filter((each) => !each.closest("[hidden]"));
    const named = found.find((each) => each.childNodes[0]?.textContent === label)!;
    return document.getElementById(named.htmlFor) as HTMLInputElement;
  };
  const type = (label: string, value: string) => {
    control(label).value = value;
    control(label).dispatchEvent(
      new Event(control(label).localName === "select" ? "change" : "input", { bubbles: true }),
    );
  };
  const wrong = () => [...document.querySelectorAll("[role=alert]:not([hidden])")].map((each) => each.textContent);
  return { made, control, type, wrong };
}

test("a nested schema is filled in, and its types are kept", () => {
  const { made, control, type } = form(NESTED);
  type("name", "api");
  type("replicas", "3");
  type("target", "1");
  type("port", "8080");
  expect(made.complain()).toBe(false);
  expect(made.read()).toEqual({ name: "api", replicas: 3, tags: [], target: { kind: "local", port: 8080 } });
  type("dry", "1");
  type("level", "1");
  type("ratio", "0.5");
  expect(made.read()).toMatchObject({ dry: false, level: 2, ratio: 0.5 });
  expect(control("ratio").getAttribute("aria-required")).toBeNull();
});

test.each([
  [{ type: "string" }, "a"],
  [{ anyOf: [{ type: "string" }, { type: "null" }] }, "a"],
  [{ type: "array", items: { type: "string" } }, ["a"]],
  [{ type: "object", properties: { note: { anyOf: [{ type: "string" }, { type: "null" }] } } }, { note: "a" }],
])("every control of %j has a name", (schema, start) => {
  const { made } = form(schema, start);
  const controls = [...made.el.querySelectorAll<HTMLInputElement>("input, select")];
  expect(controls.length).toBeGreaterThan(0);
  for (const each of controls) expect(each.labels![0]!.textContent).not.toBe("");
});

test("alternatives that lead back to themselves are looked at once", () => {
  const itself = { $ref: "#" };
  const schema = { oneOf: [itself, itself, { type: "array", items: itself }, { type: "string" }] };
  expect(fits([["a"]], schema, schema)).toBe(true);
  expect(cpuSeconds(() => expect(fits([[1]], schema, schema)).toBe(false))).toBeLessThan(0.5);
});

test.each([
  [["string", "integer"], 8080],
  [["string", "integer"], "http"],
  [["boolean", "null"], null],
  [["object", "null"], null],
  [["array", "null"], null],
  [["string", "number", "null"], null],
])("of several types, %j, %j stays what it is", (type, port) => {
  const schema = { type: "object", required: ["port"], properties: { port: { type, items: { type: "string" } } } };
  const { made } = form(schema, { port });
  expect(made.read()).toEqual({ port });
  expect(made.complain()).toBe(false);
});

test("what is wrong is said at its field, and the first of it gets the focus", () => {
  const { made, control, type, wrong } = form(NESTED);
  type("name", "API");
  type("replicas", "2.5");
  type("ratio", "0");
  expect(made.complain()).toBe(true);
  expect(wrong()).toEqual(["Must match ^[a-z-]+$", "Must be a whole number.", "More than 0."]);
  expect(document.activeElement).toBe(control("name"));
  expect(control("name").getAttribute("aria-invalid")).toBe("true");
  type("name", "api");
  expect(wrong()).toHaveLength(2);
  type("replicas", "ten");
  made.complain();
  expect(wrong()[0]).toBe("Must be a number.");
});

test("starts from the first value that fits, and keeps what it has no field for", () => {
  const value = {
    name: "web",
    replicas: 2,
    tags: ["a"],
    target: { kind: "cloud", region: "eu" },
    extra: { deep: [1] },
  };
  expect(form(NESTED, { name: 7 }, value).made.read()).toEqual(value);
});

test("items are added, moved and removed", () => {
  const { made, wrong } = form({ type: "array", items: { type: "integer" }, maxItems: 2 }, [1, 2]);
  const press = (name: string, at = 0) =>
    [...document.querySelectorAll("button")].filter((each) => each.textContent === name)[at]!.click();
  press("↑", 1);
  expect(made.read()).toEqual([2, 1]);
  press("Add");
  (document.activeElement as HTMLInputElement).value = "3";
  expect(made.read()).toEqual([2, 1, 3]);
  expect(made.complain()).toBe(true);
  expect(wrong()).toEqual(["At most 2 items, not 3."]);
  press("Remove");
  expect(made.read()).toEqual([1, 3]);
  expect(made.complain()).toBe(false);
});

test("an optional object is left out as long as nothing of it is given", () => {
  const schema = {
    type: "object",
    properties: {
      at: { type: "object", required: ["x"], properties: { x: { type: "number" }, far: { type: "boolean" } } },
    },
  };
  const { made, type } = form(schema);
  expect([made.complain(), made.read()]).toEqual([false, {}]);
  expect(form(schema, { at: { x: 1, far: false } }).made.read()).toEqual({ at: { x: 1, far: false } });
  type("x", "1");
  expect(made.read()).toEqual({ at: { x: 1 } });
});

test("an optional value may be nothing", () => {
  const { made, type } = form({ anyOf: [{ type: "integer" }, { type: "null" }], default: null });
  expect(made.read()).toBeNull();
  type("Which", "0");
  expect(made.complain()).toBe(true);
});

test("what a control of the browser can't hold is kept as it is", () => {
  for (const [format, value] of [
    ["time", "12:30:00+02:00"],
    ["date", "1 May"],
    ["email", " a@b.org "],
  ])
    expect(form({ type: "string", format }, value).made.read()).toBe(value);
});

test("null stays null where it may be", () => {
  for (const type of ["string", "integer"]) {
    const { made } = form({ type: [type, "null"] }, null);
    expect([made.complain(), made.read()]).toEqual([false, null]);
  }
  expect(form({ type: ["string", "null"] }, "").made.read()).toBe("");
});

test("a draft with gaps is of the alternative that it says it is of", () => {
  const draft = { name: "api", target: { kind: "local", port: null }, tags: ["a"] };
  expect(Form.of(NESTED, [], draft)!.read()).toEqual({ name: "api", target: { kind: "local" }, tags: ["a"] });
});

test("what holds for all alternatives is asked for in each", () => {
  const kind = (name: string) => ({ required: ["kind"], properties: { kind: { const: name } } });
  const schema = {
    type: "object",
    required: ["name"],
    properties: { name: { type: "string" }, kind: { type: "string" } },
    oneOf: [kind("dog"), kind("cat")],
  };
  const { made, type } = form(schema);
  type("name", "Tom");
  expect(made.read()).toEqual({ name: "Tom", kind: "dog" });
  expect(fits({ kind: "cat" }, schema, schema)).toBe(false);
  expect(form(schema, { name: "Tom", kind: "cat" }).made.read()).toEqual({ name: "Tom", kind: "cat" });
});

test("what a form can't express is left to the editor", () => {
  const recursive = {
    $ref: "#/$defs/Tree",
    $defs: { Tree: { type: "object", properties: { left: { $ref: "#/$defs/Tree" } } } },
  };
  for (const schema of [
    {},
    true,
    { $ref: "#/$defs/50%" },
    "string",
    { type: "array" },
    { $ref: "#/nowhere" },
    { $ref: "http://x" },
    recursive,
  ]) {
    expect(Form.of(schema)).toBeUndefined();
  }
});

/** A schema, and values of it. */
const pairs: fc.Arbitrary<[schema: object, value: unknown]> = fc.letrec<{ pair: [object, unknown] }>((tie) => ({
  pair: fc.oneof(
    { depthSize: "small" },
    fc.string().map((value): [object, unknown] => [{ type: "string" }, value]),
    fc.integer().map((value): [object, unknown] => [{ type: "integer" }, value]),
    fc
      .double({ noNaN: true, noDefaultInfinity: true })
      .map((value): [object, unknown] => [{ type: "number" }, value + 0]),
    fc.boolean().map((value): [object, unknown] => [{ type: "boolean" }, value]),
    fc.jsonValue({ maxDepth: 1 }).map((value): [object, unknown] => [{ enum: [value, "other"] }, value]),
    tie("pair").map(([schema, value]): [object, unknown] => [{ type: "array", items: schema }, [value, value]]),
    fc.constant<[object, unknown]>([{ type: "array", items: { type: "string" } }, []]),
    fc.constant<[object, unknown]>([{ type: ["string", "null"] }, null]),
    fc.constant<[object, unknown]>([{ type: ["integer", "null"] }, null]),
    fc.dictionary(fc.stringMatching(/^[a-z]{1,5}$/), tie("pair"), { maxKeys: 3 }).map((all): [object, unknown] => [
      {
        type: "object",
        required: Object.keys(all).filter((name) => name.length < 3),
        properties: Object.fromEntries(Object.entries(all).map(([name, [schema]]) => [name, schema])),
      },
      Object.fromEntries(Object.entries(all).map(([name, [, value]]) => [name, value])),
    ]),
  ),
})).pair;

test("whatever value a schema allows comes out as it was put in", () => {
  fc.assert(
    fc.property(pairs, ([schema, value]) => {
      fc.pre(isSchema(schema) && fits(value, schema, schema));
      const made = Form.of(schema, [value]);
      fc.pre(made !== undefined);
      expect(JSON.stringify(made!.read())).toBe(JSON.stringify(value));
      expect(made!.complain()).toBe(false);
    }),
    { numRuns: 300 },
  );
});

test("changes are told place by place, and no more than can be read", () => {
  expect(changes({ a: 1, b: ["x", { c: 2 }], d: 0 }, { a: 1, b: ["y", { c: 3 }], e: null })).toEqual([
    'b[0]: "x" → "y"',
    "b[1].c: 2 → 3",
    "d: 0 → nothing",
    "e: nothing → null",
  ]);
  expect(changes(1, 1)).toEqual([]);
  expect(changes(Array(50).fill(0), Array(50).fill(1))).toHaveLength(13);
});

test("a draft is kept until it is forgotten, also where there is no storage", () => {
  const draft = new Draft("d", "e", "g");
  draft.save({ feedback: "well" });
  expect(new Draft("d", "e", "g").load()).toEqual({ feedback: "well" });
  expect(new Draft("d", "other", "g").load()).toBeUndefined();
  draft.forget();
  expect(draft.load()).toBeUndefined();
});
