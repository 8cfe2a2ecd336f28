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

/** `import source from "./x.ts?inline"` is the bundled source of x, so that a worker needs no file of its own. */
const inline = {
  name: "inline",
  setup(build_) {
    build_.onResolve({ filter: /\?inline$/ }, ({ path, resolveDir }) => ({
      path: new URL(path.replace(/\?inline$/, ""), `file://${resolveDir}/`).pathname,
      namespace: "inline",
    }));
    build_.onLoad({ filter: /.*/, namespace: "inline" }, async ({ path }) => {
      const { outputFiles } = await build({ ...options, format: "iife", entryPoints: [path], write: false });
      return { contents: outputFiles[0].text, loader: "text", watchFiles: [path] };
    });
  },
};

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

await build({ ...options, entryPoints: [entry], outfile, plugins: [css, inline] });
