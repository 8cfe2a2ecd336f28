// The network simplex: the layering with the shortest edges.

import type { Adjacency } from "./adjacency";

/** Of the tree's edges that may be replaced, the worst of so many is. */
const CHOICE = 30;

/**
 * Shorten the edges of a layering until their lengths add up to the least there is, or `work` visits to nodes and edges
 * are used up (Gansner, Koutsofios, North & Vo, "A technique for drawing directed graphs", 1993, section 2): a spanning
 * tree of edges that are as short as they can be is changed edge by edge, as long as one of them would rather be longer.
 *
 * @param layer Any layering: every edge leads to a later layer. It is shortened in place.
 */
export function shorten(
  out: Adjacency,
  into: Adjacency,
  from: Int32Array,
  to: Int32Array,
  layer: Int32Array,
  work: number,
) {
  new Simplex(out, into, from, to, layer, work).run();
}

class Simplex {
  readonly #out: Adjacency;
  readonly #into: Adjacency;
  readonly #from: Int32Array;
  readonly #to: Int32Array;
  readonly #layer: Int32Array;
  #work: number;
  /** Edges of the tree at each node, and which edges they are. */
  readonly #tree: number[][];
  readonly #inTree: Uint8Array;
  readonly #edges: number[] = [];
  readonly #place: Int32Array;
  /** How much shorter all edges together would be for each layer that a tree's edge is longer, negated. */
  readonly #cut: Int32Array;
  /** The tree in postorder: v's subtree is `low[v] … lim[v]`; the edge that leads to v's parent, -1 = none. */
  readonly #low: Int32Array;
  readonly #lim: Int32Array;
  readonly #parent: Int32Array;
  #next = 0;
  /** Room for a search, of two numbers a node. */
  readonly #stack: Int32Array;

  constructor(out: Adjacency, into: Adjacency, from: Int32Array, to: Int32Array, layer: Int32Array, work: number) {
    const [n, m] = [layer.length, from.length];
    [this.#out, this.#into, this.#from, this.#to, this.#layer, this.#work] = [out, into, from, to, layer, work];
    this.#tree = Array.from({ length: n }, () => []);
    this.#inTree = new Uint8Array(m);
    this.#place = new Int32Array(m);
    this.#cut = new Int32Array(m);
    this.#low = new Int32Array(n);
    this.#lim = new Int32Array(n);
    this.#parent = new Int32Array(n).fill(-1);
    this.#stack = new Int32Array(2 * n);
  }

  run(): void {
    const roots = this.#span();
    if (!roots) return;
    for (const root of roots) this.#number(root, -1);
    this.#measure(roots);
    for (let e = this.#leaving(); e >= 0 && this.#work > 0; e = this.#leaving()) this.#exchange(e, this.#entering(e));
  }

  #slack(e: number): number {
    return this.#layer[this.#to[e]!]! - this.#layer[this.#from[e]!]! - 1;
  }

  #otherEnd(e: number, v: number): number {
    return this.#from[e] === v ? this.#to[e]! : this.#from[e]!;
  }

  /** Visit the edges at v. */
  #around(v: number, visit: (e: number) => void): void {
    for (const { start, edge } of [this.#out, this.#into]) {
      for (let i = start[v]!; i < start[v + 1]!; i++) visit(edge[i]!);
    }
  }

  /** Grow a tree of edges without slack over each connected part; its nodes are moved until there are enough. */
  #span(): number[] | undefined {
    const layer = this.#layer;
    const reached = new Uint8Array(layer.length);
    const roots: number[] = [];
    for (let root = 0; root < layer.length; root++) {
      if (reached[root]) continue;
      roots.push(root);
      const nodes = [root];
      reached[root] = 1;
      for (let done = 0; ; ) {
        for (; done < nodes.length; done++) {
          const v = nodes[done]!;
          this.#around(v, (e) => {
            const w = this.#otherEnd(e, v);
            if (reached[w] || this.#slack(e) > 0) return;
            reached[w] = 1;
            nodes.push(w);
            this.#join(e);
          });
        }
        let nearest = -1;
        let least = Infinity;
        for (const v of nodes) {
          this.#around(v, (e) => {
            if (!reached[this.#otherEnd(e, v)] && this.#slack(e) < least) [nearest, least] = [e, this.#slack(e)];
          });
        }
        this.#work -= nodes.length;
        if (nearest < 0) break;
        if (this.#work < 0) return undefined;
        const by = reached[this.#from[nearest]!] ? least : -least;
        for (const v of nodes) layer[v]! += by;
        // What is next to it is found from the end of it that is in the tree.
        const inside = by > 0 ? this.#from[nearest]! : this.#to[nearest]!;
        const w = this.#otherEnd(nearest, inside);
        reached[w] = 1;
        nodes.push(w);
        this.#join(nearest);
        done = 0;
      }
    }
    return roots;
  }

  #join(e: number): void {
    this.#inTree[e] = 1;
    this.#place[e] = this.#edges.push(e) - 1;
    this.#tree[this.#from[e]!]!.push(e);
    this.#tree[this.#to[e]!]!.push(e);
  }

  /** Number the subtree of `root`, which hangs on the edge `above`, from `next` on. */
  #number(root: number, above: number): void {
    const stack = this.#stack;
    let depth = 0;
    const enter = (v: number, from: number) => {
      this.#parent[v] = from;
      this.#low[v] = this.#next;
      stack[depth++] = v;
      stack[depth++] = 0;
    };
    enter(root, above);
    while (depth > 0) {
      const v = stack[depth - 2]!;
      const edges = this.#tree[v]!;
      const at = stack[depth - 1]!++;
      if (at === edges.length) {
        this.#lim[v] = this.#next++;
        depth -= 2;
        continue;
      }
      const e = edges[at]!;
      if (e !== this.#parent[v]) enter(this.#otherEnd(e, v), e);
    }
  }

  /** The cut values of all edges of the tree, from the leaves up. */
  #measure(roots: readonly number[]): void {
    const order = new Int32Array(this.#layer.length);
    for (let v = 0; v < order.length; v++) order[this.#lim[v]!] = v;
    const top = new Set(roots);
    for (const v of order) if (!top.has(v)) this.#measureEdge(this.#parent[v]!, v);
  }

  #measureEdge(tree: number, v: number): void {
    const out = this.#from[tree] === v;
    let sum = 0;
    this.#around(v, (e) => {
      const w = this.#otherEnd(e, v);
      const outside = !this.#within(w, v);
      const value = outside ? 1 : (this.#inTree[e] ? this.#cut[e]! : 0) - 1;
      const along = (out ? this.#to[e] === v : this.#from[e] === v) !== outside;
      sum += along ? value : -value;
    });
    this.#cut[tree] = sum;
  }

  #within(w: number, v: number): boolean {
    return this.#low[v]! <= this.#lim[w]! && this.#lim[w]! <= this.#lim[v]!;
  }

  #search = 0;

  /** An edge of the tree that would rather be longer; -1 = none. */
  #leaving(): number {
    const edges = this.#edges;
    let worst = -1;
    for (let seen = 0, found = 0; seen < edges.length && found < CHOICE; seen++) {
      this.#search = this.#search + 1 < edges.length ? this.#search + 1 : 0;
      const e = edges[this.#search]!;
      this.#work--;
      if (this.#cut[e]! >= 0) continue;
      found++;
      if (worst < 0 || this.#cut[e]! < this.#cut[worst]!) worst = e;
    }
    return worst;
  }

  /** The edge that takes its place: the one with the least slack that leads from the one side of it to the other. */
  #entering(leaving: number): number {
    const [tail, head] = [this.#from[leaving]!, this.#to[leaving]!];
    const outward = this.#lim[tail]! >= this.#lim[head]!;
    const top = outward ? head : tail;
    const { start, edge } = outward ? this.#out : this.#into;
    const stack = this.#stack;
    let depth = 0;
    stack[depth++] = top;
    let entering = -1;
    let least = Infinity;
    while (depth > 0) {
      const v = stack[--depth]!;
      this.#work -= 1 + start[v + 1]! - start[v]!;
      for (let i = start[v]!; i < start[v + 1]!; i++) {
        const e = edge[i]!;
        if (this.#inTree[e] || this.#within(this.#otherEnd(e, v), top)) continue;
        const slack = this.#slack(e);
        if (slack < least) [entering, least] = [e, slack];
      }
      if (least === 0) break;
      for (const e of this.#tree[v]!) if (e !== this.#parent[v]) stack[depth++] = this.#otherEnd(e, v);
    }
    return entering;
  }

  #exchange(leaving: number, entering: number): void {
    const slack = this.#slack(entering);
    const [tail, head] = [this.#from[leaving]!, this.#to[leaving]!];
    if (slack > 0) {
      if (this.#lim[tail]! < this.#lim[head]!) this.#shift(tail, -slack);
      else this.#shift(head, slack);
    }
    const cut = this.#cut[leaving]!;
    const meet = this.#spread(this.#from[entering]!, this.#to[entering]!, cut, true);
    this.#spread(this.#to[entering]!, this.#from[entering]!, cut, false);
    this.#cut[entering] = -cut;
    this.#cut[leaving] = 0;

    this.#inTree[leaving] = 0;
    for (const v of [tail, head]) this.#tree[v]!.splice(this.#tree[v]!.indexOf(leaving), 1);
    this.#inTree[entering] = 1;
    this.#edges[this.#place[leaving]!] = entering;
    this.#place[entering] = this.#place[leaving]!;
    for (const v of [this.#from[entering]!, this.#to[entering]!]) this.#tree[v]!.push(entering);
    this.#work -= this.#lim[meet]! - this.#low[meet]!;
    this.#next = this.#low[meet]!;
    this.#number(meet, this.#parent[meet]!);
  }

  /** Move a subtree to other layers. */
  #shift(root: number, by: number): void {
    const stack = this.#stack;
    let depth = 0;
    stack[depth++] = root;
    while (depth > 0) {
      const v = stack[--depth]!;
      this.#layer[v]! += by;
      this.#work--;
      for (const e of this.#tree[v]!) if (e !== this.#parent[v]) stack[depth++] = this.#otherEnd(e, v);
    }
  }

  /** Bring the cut values up to date from v up to where its subtree holds w; returns that node. */
  #spread(v: number, w: number, cut: number, outward: boolean): number {
    let at = v;
    while (!this.#within(w, at)) {
      const e = this.#parent[at]!;
      this.#cut[e]! += (at === this.#from[e]) === outward ? cut : -cut;
      at = this.#otherEnd(e, at);
      this.#work--;
    }
    return at;
  }
}
