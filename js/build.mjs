// Bundles the widget into ../dagwidget/static/widget.js: one ES module, nothing fetched at run time.
import { build } from "esbuild";

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

await build({
  ...options,
  entryPoints: [new URL("src/widget.ts", import.meta.url).pathname],
  outfile: new URL("../dagwidget/static/widget.js", import.meta.url).pathname,
  loader: { ".css": "text" },
  plugins: [inline],
});
