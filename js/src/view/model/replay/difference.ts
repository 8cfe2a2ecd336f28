// What is another in one state than in another: what a view redraws when it turns from one moment to an earlier one.

import type { Change, DagState, Edge, Node } from "../../../state/types";

/** What changes on screen when `after` takes the place of `before`. Records that are the same are the same objects. */
export function difference(before: DagState, after: DagState): Change {
  const nodes = new Set<string>();
  const reset = before.epoch !== after.epoch;
  let structure = reset;
  for (const [id, node] of after.nodes) {
    const old = before.nodes.get(id);
    if (old === node) continue;
    nodes.add(id);
    structure ||= !old || !looksAlike(old, node);
  }
  for (const id of before.nodes.keys()) {
    if (after.nodes.has(id)) continue;
    nodes.add(id);
    structure = true;
  }
  let edges = false;
  const compare = (some: DagState["edges"], others: DagState["edges"]) => {
    for (const [target, sources] of some) {
      for (const [source, edge] of sources) {
        const other = others.get(target)?.get(source);
        if (other === edge) continue;
        edges = true;
        structure ||= !other || !saysAlike(edge, other);
      }
    }
  };
  compare(after.edges, before.edges);
  compare(before.edges, after.edges);
  return { reset, structure, nodes, edges };
}

function looksAlike(a: Node, b: Node): boolean {
  return a.label === b.label && a.group === b.group;
}

function saysAlike(a: Edge, b: Edge): boolean {
  return a.label === b.label && a.conditional === b.conditional;
}
