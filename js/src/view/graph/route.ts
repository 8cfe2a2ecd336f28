// Drawing an edge's route: chains of cubic Béziers, as flat lists of coordinates.

/** What a route is drawn into: a canvas's path, or one that is written down. */
export type Path = Pick<Path2D, "moveTo" | "lineTo" | "bezierCurveTo" | "closePath">;

/** A route is a start and then two controls and an end for each curve. */
export function trace(path: Path, points: readonly number[], length: number): void {
  path.moveTo(points[0]!, points[1]!);
  for (let i = 2; i + 5 < length; i += 6) {
    path.bezierCurveTo(points[i]!, points[i + 1]!, points[i + 2]!, points[i + 3]!, points[i + 4]!, points[i + 5]!);
  }
}

/** The ends of its curves joined by straight lines: all that can be seen from far away. */
export function polyline(path: Path, points: readonly number[], length: number): void {
  path.moveTo(points[0]!, points[1]!);
  for (let i = 6; i < length; i += 6) path.lineTo(points[i]!, points[i + 1]!);
}

const HEAD = 7;

export function arrow(path: Path, points: readonly number[], length: number): void {
  const [x, y] = [points[length - 2]!, points[length - 1]!];
  // The last control tells where the curve comes from, but for one that lies on its end.
  let from = length - 4;
  while (from > 0 && points[from] === x && points[from + 1] === y) from -= 2;
  let [dx, dy] = [x - points[from]!, y - points[from + 1]!];
  const size = Math.hypot(dx, dy) || 1;
  [dx, dy] = [dx / size, dy / size];
  path.moveTo(x, y);
  path.lineTo(x - HEAD * dx - (HEAD / 2) * dy, y - HEAD * dy + (HEAD / 2) * dx);
  path.lineTo(x - HEAD * dx + (HEAD / 2) * dy, y - HEAD * dy - (HEAD / 2) * dx);
  path.closePath();
}

const SAMPLES = 8;

/** The point half-way along a route, by its length. */
export function middle(points: readonly number[], length: number): [number, number] {
  const line: [number, number, number][] = [[points[0]!, points[1]!, 0]];
  for (let at = 0; at + 7 < length; at += 6) {
    for (let step = 1; step <= SAMPLES; step++) {
      const t = step / SAMPLES;
      const [x, y] = [onCurve(points, at, t), onCurve(points, at + 1, t)];
      const [x0, y0, sum] = line.at(-1)!;
      line.push([x, y, sum + Math.hypot(x - x0, y - y0)]);
    }
  }
  const half = line.at(-1)![2] / 2;
  const after = Math.max(
    1,
    line.findIndex(([, , sum]) => sum >= half),
  );
  const [from, to] = [line[after - 1]!, line[after] ?? line[after - 1]!];
  const t = to[2] > from[2] ? (half - from[2]) / (to[2] - from[2]) : 0;
  return [from[0] + (to[0] - from[0]) * t, from[1] + (to[1] - from[1]) * t];
}

/** One coordinate of the curve whose points begin at `at`. */
function onCurve(points: readonly number[], at: number, t: number): number {
  const s = 1 - t;
  const [a, b, c, d] = [points[at]!, points[at + 2]!, points[at + 4]!, points[at + 6]!];
  return s * s * s * a + 3 * s * s * t * b + 3 * s * t * t * c + t * t * t * d;
}
