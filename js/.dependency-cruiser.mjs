// Which folder of src may import which. `npm run lint:layers` checks it.

import { allExtensions } from "dependency-cruiser";

// dependency-cruiser parses with the API of TypeScript 6, which TypeScript 7 no longer has. Hence `typescript` is version 6
// and `@typescript/native`, whose `tsc` checks the types, is version 7. Without an API it would skip every file and pass.
if (!allExtensions.some(({ extension, available }) => extension === ".ts" && available)) {
  throw new Error("dependency-cruiser found no TypeScript API (typescript < 7): run `npm install`");
}

/** Paths of all files in these folders of src. */
const within = (...folders) => folders.map((folder) => `^src/${folder}/`);

/** A rule: of src, the files in `from` import only those in `to`. */
const only = (name, comment, from, to) => ({
  name,
  comment,
  severity: "error",
  from: { path: from },
  to: { path: "^src/", pathNot: to },
});

export default {
  forbidden: [
    {
      name: "no-circle",
      comment: "Files that import each other: move what they share to a file that both import.",
      severity: "error",
      from: {},
      to: { circular: true },
    },
    {
      name: "resolves",
      comment: "An import that cannot be resolved escapes the other rules.",
      severity: "error",
      from: {},
      to: { couldNotResolve: true },
    },
    only("protocol-is-the-ground", "protocol imports no other folder.", within("protocol"), within("protocol")),
    only("state-on-protocol", "state imports only protocol.", within("state"), within("state", "protocol")),
    only(
      "stream-on-state",
      "stream imports only state and protocol.",
      within("stream"),
      within("stream", "state", "protocol"),
    ),
    only("layout-is-independent", "layout imports no other folder.", within("layout"), within("layout")),
    only(
      "model-is-headless",
      "view/model holds what is shown and never imports what draws it.",
      within("view/model"),
      within("view/model", "protocol", "state", "stream", "layout"),
    ),
    only(
      "view-below-widget",
      "view imports neither widget nor react.ts.",
      within("view"),
      within("view", "protocol", "state", "stream", "layout"),
    ),
    {
      name: "view-opens-no-socket",
      comment: "view is given its stream by the caller, and imports only types from it.",
      severity: "error",
      from: { path: within("view") },
      to: { path: within("stream"), dependencyTypesNot: ["type-only"] },
    },
    {
      name: "graph-below-panels",
      comment: "graph and dom never import the panels around them.",
      severity: "error",
      from: { path: within("view/graph", "view/dom") },
      to: { path: within("view/(panels|timeline|gate|value|export|notifications)") },
    },
    only(
      "react-without-view",
      "react.ts imports the stream, never view or widget.",
      ["^src/react[.]ts$"],
      within("stream", "state", "protocol"),
    ),
  ],
  options: {
    // Type-only imports count too.
    tsPreCompilationDeps: true,
    doNotFollow: { path: "node_modules" },
  },
};
