// What goes into a layout and what comes out, in typed arrays that a worker can hand over without a copy.

/** A graph to lay out. Nodes are indices, in the order in which they were added: that order breaks every tie. */
export interface Graph {
  n: number;
  /** px of each node's box. */
  width: Float32Array;
  height: Float32Array;
  /** Pairs from, to (indices). Cycles, self-loops and parallel edges are welcome. */
  edges: Uint32Array;
  /** Group index per node, -1 = none. Paths like "etl/load" lie within "etl", which need not be listed. */
  group?: { paths: string[]; of: Int32Array };
  direction: "LR" | "TB";
}

/** A frame around the members of a group; `x`, `y` is its top left corner. */
export interface Frame {
  path: string;
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Layout {
  /** Centres of boxes, px. */
  x: Float32Array;
  y: Float32Array;
  /**
   * px of the whole picture: nodes, routes and frames lie within it. It begins at (0, 0), unless it grew out of an
   * earlier one that kept its place.
   */
  left: number;
  top: number;
  width: number;
  height: number;
  /** Of each node, from 0 in its connected part. */
  layer: Int32Array;
  /**
   * One chain of cubic Béziers per edge, from the border of its source to the border of its target: the points of edge
   * e are `route[2 * offset[e] … 2 * offset[e + 1])`, a start and then three points (control, control, end) for each
   * curve, so 1 + 3k points. Drawn as a plain polyline, they still lead around the boxes.
   */
  route: Float32Array;
  offset: Uint32Array;
  /** 1 = this edge closes a cycle (a self-loop too), and runs against the direction. */
  back: Uint8Array;
  /** Outer frames before the frames within them. */
  groups: Frame[];
}

/** An earlier picture, whose places are kept as far as they can be. */
export interface Previous {
  /** Of each node: the one of the earlier graph that it is, or whose place it takes; -1 = it is new. */
  of: Int32Array;
  graph: Graph;
  layout: Layout;
}

/** Every knob of the layout. Lengths are px. */
export interface Settings {
  /** Between neighbouring boxes of a layer. */
  nodeGap: number;
  /** Between an edge that passes through a layer and its neighbours. */
  edgeGap: number;
  /** Between layers, at least: steep edges get more. */
  layerGap: number;
  /** Between the connected parts of the graph. */
  partGap: number;
  /** Between a group's frame and what is in it. */
  groupGap: number;
  /** Kept free for a group's name, at the top of its frame. */
  groupLabel: number;
  /** Width : height aimed at when several connected parts are packed into one picture. */
  aspect: number;
  /** How many visits, for each node and edge, may be spent on making edges span fewer layers. */
  layering: number;
  /** Sweeps of crossing reduction, at most. Counted, not timed: the same input gives the same picture everywhere. */
  sweeps: number;
  /** How often, after each sweep, neighbours are exchanged in all layers to undo crossings; an even number. */
  exchange: number;
  /** From how many corners of the picture boxes are pushed together, before the mean is taken. */
  corners: 2 | 4;
  /** Bends that long edges may have in all; the longest edges run around everything else beyond that. */
  bendLimit: number;
}

/** Settings for the picture that is kept. */
export const REFINED: Settings = {
  nodeGap: 24,
  edgeGap: 14,
  layerGap: 56,
  partGap: 48,
  groupGap: 14,
  groupLabel: 18,
  aspect: 1.6,
  layering: 100,
  sweeps: 36,
  exchange: 6,
  corners: 4,
  bendLimit: 100_000,
};

/** Settings for a picture within a frame or two. */
export const FIRST: Settings = { ...REFINED, layering: 0, sweeps: 4, exchange: 0, corners: 2, bendLimit: 30_000 };
