// @vitest-environment jsdom
import { beforeEach, expect, test, vi } from "vitest";
import { pictureOf } from "../../src/view/value/image";
import { tableOf } from "../../src/view/value/table";
import { ValueView } from "../../src/view/value/value";
import { cpuSeconds } from "../cpu";

const PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

function shown(value: unknown) {
  const view = new ValueView(value);
  document.body.replaceChildren(view.el);
  const all = <E extends HTMLElement>(selector: string) => [...view.el.querySelectorAll<E>(selector)];
  return {
    view,
    all,
    looks: () => all(".dw-look").map((it) => it.textContent),
    texts: (selector: string) => all(selector).map((it) => it.textContent),
    press: (name: string) =>
      all("button")
        .find((it) => it.textContent?.startsWith(name))!
        .click(),
    /** Unfold the first that is folded, as a click does. */
    async unfold(at = 0) {
      const details = all<HTMLDetailsElement>("details:not([open])")[at]!;
      details.open = true;
      await vi.waitFor(() => expect(details.childElementCount).toBe(2));
      return details;
    },
  };
}

beforeEach(() => document.body.replaceChildren());

test("a short value is only itself, and a text of lines keeps them", () => {
  expect(shown(3).view.el.innerHTML).toBe("<p>3</p>");
  expect(shown({}).view.el.textContent).toBe("{}");
  const { all, looks } = shown("one\n  two");
  expect(all("pre")[0]!.textContent).toBe("one\n  two");
  expect(looks()).toEqual([]);
});

test("an object is a tree, and JSON for who wants it", () => {
  const value = { name: "x", n: null, flags: [true, 2] };
  const { looks, texts, press, all } = shown(value);
  expect(looks()).toEqual(["Tree", "JSON"]);
  expect(texts(".dw-key")).toEqual(["name", "n", "flags", "0", "1"]);
  expect(texts(".dw-string, .dw-null, .dw-number")).toEqual(['"x"', "null", "true", "2"]);
  press("JSON");
  expect(all("pre")[0]!.textContent).toBe(JSON.stringify(value, null, 2));
  expect(document.activeElement!.textContent).toBe("JSON");
  expect(document.activeElement!.getAttribute("aria-pressed")).toBe("true");
});

test("what is folded is made when it is unfolded", async () => {
  const { all, unfold } = shown({ many: Array.from({ length: 20 }, (_, i) => ({ i })), one: 1 });
  expect(all("li")).toHaveLength(2);
  await unfold();
  expect(all("tbody tr")).toHaveLength(20);
});

test("a list of 100,000 is ranges of ranges, and any item is three steps away", async () => {
  let read = 0;
  const list = new Proxy(
    Array.from({ length: 100_000 }, (_, i) => `item ${i}`),
    {
      get(target, key, receiver) {
        if (typeof key === "string" && /^\d+$/.test(key)) read++;
        return Reflect.get(target, key, receiver);
      },
    },
  );
  const { all, unfold, texts } = shown(list);
  expect(texts("summary")).toHaveLength(10);
  await unfold(9);
  expect(texts("summary")).toHaveLength(110);
  await unfold(108);
  expect(texts(".dw-string").at(-1)).toBe('"item 99999"');
  expect(all("*").length).toBeLessThan(1000);
  expect(read).toBeLessThan(500);
});

test("a thousand levels are one level at a time", async () => {
  let deep: unknown = "bottom";
  for (let i = 0; i < 1000; i++) deep = { next: deep };
  const { unfold, all, press } = shown(deep);
  for (let i = 0; i < 5; i++) await unfold();
  expect(all("details").length).toBeLessThan(12);
  press("JSON");
  expect(all("pre")[0]!.textContent).toContain("…");
});

test("a key is text, whatever its name", () => {
  const value = JSON.parse('{"__proto__": {"polluted": 1}, "constructor": 2, "<img src=x onerror=y>": "<b>"}');
  const { texts, all } = shown(value);
  expect(texts(".dw-key")).toEqual(["__proto__", "polluted", "constructor", "<img src=x onerror=y>"]);
  expect(all("img, b")).toEqual([]);
  const rows = JSON.parse('[{"__proto__": 1, "toString": "x"}, {"__proto__": 2, "toString": "y"}]');
  expect(shown(rows).texts("td")).toEqual(["1", "x", "2", "y"]);
});

test("a huge string costs what is shown of it, also inside a tree", async () => {
  const huge = "x".repeat(5_000_000);
  expect(shown(huge).view.el.textContent!.length).toBeLessThan(21_000);
  const { view, unfold } = shown({ huge });
  expect(view.el.textContent!.length).toBeLessThan(1000);
  await unfold();
  expect(view.el.textContent!.length).toBeLessThan(22_000);
});

test("a list of flat objects with the same keys is a table, 50 rows at a time", () => {
  const rows = Array.from({ length: 120 }, (_, i) => ({ name: `row ${i}`, n: i, none: null }));
  const { looks, texts, all, press } = shown(rows);
  expect(looks()).toEqual(["Table", "Tree", "JSON"]);
  expect(texts("th")).toEqual(["name", "n", "none"]);
  expect(all("th").every((th) => th.getAttribute("scope") === "col")).toBe(true);
  expect(all("tbody tr")).toHaveLength(50);
  press("Show 50 more of 70");
  press("Show 20 more of 20");
  expect(all("tbody tr")).toHaveLength(120);
  expect(texts("button").some((name) => name?.startsWith("Show"))).toBe(false);
});

test("what a preview left out of a table is said below it", () => {
  const { texts, all } = shown([{ a: 1 }, { a: 2 }, "… 98 more"]);
  expect(all("tbody tr")).toHaveLength(2);
  expect(texts(".dw-grid p")).toEqual(["… 98 more"]);
});

test("what is no table is none", () => {
  for (const value of [
    [],
    [1],
    [{}],
    [{ a: 1 }, { b: 1 }],
    [{ a: [] }],
    [{ a: 1 }, { a: 1, b: 2 }],
    { a: 1 },
    ["… 3 more"],
  ])
    expect(tableOf(value)).toBeUndefined();
});

test("a picture is a data URL or a MIME bundle, of pixels only", () => {
  expect(shown(`data:image/png;base64,${PIXEL}`).all<HTMLImageElement>("img")[0]!.src).toBe(
    `data:image/png;base64,${PIXEL}`,
  );
  const { all, looks } = shown({
    "image/png": `${PIXEL.slice(0, 40)}\n${PIXEL.slice(40)}\n`,
    "text/plain": "<Figure>",
  });
  expect(looks()).toEqual(["Picture", "Tree", "JSON"]);
  expect(all<HTMLImageElement>("img")[0]!.src).toBe(`data:image/png;base64,${PIXEL}`);
  expect(all<HTMLImageElement>("img")[0]!.alt).toBe("<Figure>");
  for (const value of [
    "data:image/svg+xml;base64,PHN2Zz4=",
    "data:text/html;base64,PHN2Zz4=",
    "https://example.org/x.png",
    `data:image/png;base64,${PIXEL.slice(0, 20)}… 9 more characters`,
    'data:image/png;base64,AAAA" onerror="x',
    { "image/svg+xml": "<svg/>" },
    { "text/html": "<b>x</b>" },
    { "image/png": 7 },
    { "image/png": PIXEL, rows: 3 },
  ])
    expect(pictureOf(value)).toBeUndefined();
});

test("a picture that can't be decoded says so", () => {
  const { view, all } = shown(`data:image/png;base64,${PIXEL}`);
  all("img")[0]!.dispatchEvent(new Event("error"));
  expect(view.el.textContent).toContain("damaged");
});

test("another value is shown in the way that was chosen", () => {
  const { view, press, all } = shown({ a: 1 });
  press("JSON");
  view.show({ b: 2 });
  expect(all("pre")[0]!.textContent).toBe('{\n  "b": 2\n}');
  view.show("text");
  expect(view.el.textContent).toBe("text");
});

test("all of a value is copied, however much of it is shown", async () => {
  const writeText = vi.fn(async () => {});
  vi.stubGlobal("navigator", { ...navigator, clipboard: { writeText } });
  const value = { list: Array.from({ length: 30_000 }, (_, i) => i) };
  const { press, texts } = shown(value);
  press("Copy");
  expect(writeText).toHaveBeenCalledWith(JSON.stringify(value, null, 2));
  await vi.waitFor(() => expect(texts(".dw-copy")).toEqual(["Copied"]));
  vi.unstubAllGlobals();
});

test("without a clipboard the page's own command copies, and who can't is told", async () => {
  const { press, texts, all } = shown({ a: 1 });
  press("Copy");
  await vi.waitFor(() => expect(texts(".dw-copy")).toEqual(["Copying is blocked here"]));
  expect(all("textarea")).toEqual([]);
});

test("what is hardly a picture is told apart in no time", () => {
  const picture = { "image/png": `${" ".repeat(200_000)}!` };
  expect(cpuSeconds(() => expect(pictureOf(picture)).toBeUndefined())).toBeLessThan(2);
});
