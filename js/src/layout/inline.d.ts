// `build.mjs` bundles what is imported this way, and gives its source as a string.
declare module "*?inline" {
  const source: string;
  export default source;
}
