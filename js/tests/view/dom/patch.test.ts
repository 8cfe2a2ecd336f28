// @vitest-environment jsdom
import fc from "fast-check";
import { expect, test } from "vitest";
import { button, h } from "../../../src/view/dom/dom";
import { keyed, OWN, patch } from "../../../src/view/dom/patch";

type Tree = { tag: "p" | "ul" | "li"; name: string; title: string | false; key: number; children: (Tree | string)[] };

const { tree } = fc.letrec<{ tree: Tree }>((tie) => ({
  tree: fc.record({
    tag: fc.constantFrom<Tree["tag"][]>("p", "ul", "li"),
    name: fc.constantFrom("a", "b"),
    title: fc.constantFrom<Tree["title"][]>("x", "y", false),
    key: fc.nat(2),
    children: fc.array(fc.oneof({ depthSize: "small" }, fc.constantFrom("one", "one and two"), tie("tree")), {
      maxLength: 4,
    }),
  }),
}));

function grow({ tag, name, title, key, children }: Tree): HTMLElement {
  const all = children.map((each) => (typeof each === "string" ? each : grow(each)));
  return keyed(h(tag, { class: name, title }, ...all), key || undefined);
}

/** The very same elements, where `toEqual` takes like ones. */
function expectSame(actual: Iterable<Element>, expected: readonly (Element | undefined)[]): void {
  expect([...actual].map((each) => expected.indexOf(each))).toEqual([...expected.keys()]);
}

test("whatever was there, what is there after is what was asked for", () => {
  fc.assert(
    fc.property(fc.array(tree, { maxLength: 4 }), fc.array(tree, { maxLength: 4 }), (before, after) => {
      const [parent, wanted] = [h("div", {}, ...before.map(grow)), h("div", {}, ...after.map(grow))];
      patch(parent, after.map(grow));
      expect(parent.innerHTML).toBe(wanted.innerHTML);
      const kept = [...parent.querySelectorAll("*")];
      patch(parent, after.map(grow));
      expectSame(parent.querySelectorAll("*"), kept);
    }),
  );
});

test("of what comes and goes nothing else is moved", () => {
  const [a, b, c] = ["a", "b", "c"].map((name) => h("p", { class: name }));
  const parent = h("div", {}, a!, c!);
  patch(parent, [h("p", { class: "a" }), b!, h("p", { class: "c" })]);
  expectSame(parent.children, [a, b, c]);
  patch(parent, [h("p", { class: "c" })]);
  expectSame(parent.children, [c]);
});

test("an element takes over only from one of the same key, with what listens in it", () => {
  const clicked: string[] = [];
  const item = (key: string) =>
    keyed(
      h(
        "li",
        {},
        button("Show", () => clicked.push(key)),
      ),
      key,
    );
  const parent = h("ul", {}, item("a"), item("b"));
  const second = parent.children[1];
  patch(parent, [item("b"), item("c")]);
  expect(parent.children[0]).toBe(second);
  for (const each of parent.querySelectorAll("button")) each.click();
  expect(clicked).toEqual(["b", "c"]);
});

test("a section stays open or closed, and what is its own is left alone", () => {
  const sections = () => [
    h("details", { open: true }, h("summary", {}, "Log"), keyed(h("button", {}, "Copy"), OWN)),
    h("details", {}, h("summary", {}, "All frames")),
  ];
  const parent = h("div", {}, ...sections());
  const [log, frames] = [...parent.querySelectorAll("details")];
  log!.open = false;
  frames!.open = true;
  log!.querySelector("button")!.textContent = "Copied";
  patch(parent, sections());
  expect([log!.open, frames!.open]).toEqual([false, true]);
  expect(parent.textContent).toContain("Copied");
});

test("what is selected in a text stays so while more is added to it", () => {
  const parent = h("pre", {}, "one\ntwo");
  document.body.replaceChildren(parent);
  document.getSelection()!.setBaseAndExtent(parent.firstChild!, 4, parent.firstChild!, 7);
  patch(parent, [document.createTextNode("one\ntwo\nthree")]);
  expect(document.getSelection()!.toString()).toBe("two");
  expect(parent.textContent).toBe("one\ntwo\nthree");
});
