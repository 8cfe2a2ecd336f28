// Bundles the widget into ../dagwidget/widget/static: widget.js and details.js, and nothing that is fetched at run time.
// `node build.mjs page.ts page.js` does the same with a page of the tests.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build, transform } from "esbuild";
import { minify } from "terser";

const options = {
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  legalComments: "none",
  logLevel: "warning",
};

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

/** A plugin that gives modules their source, by what they are imported as. */
const given = (sources) => ({
  name: "given",
  setup(build_) {
    build_.onResolve({ filter: /./ }, ({ path }) => (path in sources ? { path, namespace: "given" } : undefined));
    build_.onLoad({ filter: /./, namespace: "given" }, ({ path }) => ({ contents: sources[path] }));
  },
});

/** A module of the layout and all that it imports, as a script that puts its exports into a variable. */
async function script(file, globalName, plugins = []) {
  const entryPoints = [here(`src/layout/${file}`)];
  const { outputFiles } = await build({ ...options, format: "iife", globalName, entryPoints, plugins, write: false });
  return outputFiles[0].text;
}

// The layout runs in a worker, and where there can be none in the page. Its code is in the bundle once, in a function:
// the page calls that, and a worker's source (`worker.ts?inline`) begins with the function's own.
const made = await script("stages.ts", "made");
const worker = await script("worker.ts", "worker", [given({ "./stages": "export const { Stages } = made;" })]);
const once = given({
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

const [page, outfile] = process.argv.slice(2);

if (page) await build({ ...options, entryPoints: [page], outfile, plugins: [css, once] });
else await buildWidget(here("../dagwidget/widget/static"));

/**
 * The two bundles: what draws the graph, and the details around it. What both are made of is in the first, which gives it
 * to the second: that is a function of it, since a module that has no address can import nothing.
 */
async function buildWidget(folder) {
  const { outputFiles, metafile } = await build({
    ...options,
    entryPoints: [here("src/widget/widget.ts"), here("src/view/details.ts")],
    entryNames: "[name]",
    chunkNames: "common",
    splitting: true,
    outdir: folder,
    metafile: true,
    write: false,
    plugins: [css, once],
  });
  const text = Object.fromEntries(outputFiles.map((file) => [`./${basename(file.path)}`, file.text]));
  const common = Object.entries(metafile.outputs)
    .find(([path]) => basename(path) === "common.js")[1]
    .exports.join(", ");

  const bundle = async (contents, sources, format = "esm") => {
    const built = await build({ ...options, format, stdin: { contents }, write: false, plugins: [given(sources)] });
    return built.outputFiles[0].text;
  };
  const widget = await bundle(
    `import { createWidget, load } from "./widget.js";
    import { ${common} } from "./common.js";
    const common = [${common}];
    export default () => createWidget((source) => load(source, common));`,
    text,
  );
  const details = await bundle(
    `import { mountDetails } from "./details.js"; made = mountDetails;`,
    { ...text, "./common.js": `export const [${common}] = common;` },
    "iife",
  );
  await mkdir(folder, { recursive: true });
  await write(join(folder, "widget.js"), widget);
  await write(join(folder, "details.js"), `export default (common) => { let made; ${details} return made; };`);
}

/** What esbuild has bundled, a twentieth smaller. Statements pack better than sequences of expressions. */
async function write(path, text) {
  const { code } = await minify(text, {
    module: true,
    ecma: 2022,
    compress: { passes: 2, sequences: false, hoist_funs: true },
  });
  await writeFile(path, code);
}
