// Bundles the widget into ../dagwidget/static/widget.js: one ES module, nothing fetched at run time.
// `node build.mjs page.ts page.js` does the same with a page of the tests.
import { readFile } from "node:fs/promises";
import { build, transform } from "esbuild";

const options = {
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  legalComments: "none",
  logLevel: "warning",
};

/** A plugin that gives modules of the layout another source, by what they are imported as. */
const layout = (sources) => ({
  name: "layout",
  setup(build_) {
    build_.onResolve({ filter: /./ }, ({ path }) => (path in sources ? { path, namespace: "layout" } : undefined));
    build_.onLoad({ filter: /./, namespace: "layout" }, ({ path }) => ({ contents: sources[path] }));
  },
});

/** A module of the layout and all that it imports, as a script that puts its exports into a variable. */
async function script(file, globalName, plugins = []) {
  const entryPoints = [new URL(`src/layout/${file}`, import.meta.url).pathname];
  const { outputFiles } = await build({ ...options, format: "iife", globalName, entryPoints, plugins, write: false });
  return outputFiles[0].text;
}

// The layout runs in a worker, and where there can be none in the page. Its code is in the bundle once, in a function:
// the page calls that, and a worker's source (`worker.ts?inline`) begins with the function's own.
const made = await script("stages.ts", "made");
const worker = await script("worker.ts", "worker", [layout({ "./stages": "export const { Stages } = made;" })]);
const once = layout({
  "./stages": `export const make = () => { ${made}; return made; }; export const { Stages } = make();`,
  "./worker.ts?inline": `import { make } from "./stages";
    export default "const made = (" + make + ")();" + ${JSON.stringify(worker)};`,
});

/** `import text from "./x.css"` is the style sheet as text, without what only its authors read. */
const css = {
  name: "css",
  setup(build_) {
    build_.onLoad({ filter: /\.css$/ }, async ({ path }) => {
      const { code } = await transform(await readFile(path, "utf8"), { loader: "css", minify: true });
      return { contents: code.trim(), loader: "text" };
    });
  },
};

const here = (path) => new URL(path, import.meta.url).pathname;
const [entry = here("src/widget.ts"), outfile = here("../dagwidget/static/widget.js")] = process.argv.slice(2);

await build({ ...options, entryPoints: [entry], outfile, plugins: [css, once] });
