// A line of counts over time, in pieces: where nothing was counted, nothing is drawn.

export interface Point {
  /** Milliseconds since 1970. */
  at: number;
  value: number;
}

/** Points that stand further apart than this many intervals have a gap between them. */
const APART = 1.5;

/** The pieces of the line, each as `x,y x,y`, in a box from `from` to `to` and from 0 to `most`. */
export function pieces(points: readonly Point[], every: number, from: number, to: number, most: number, wide: number, high: number): string[] {
  const found: string[][] = [];
  let before: number | undefined;
  for (const { at, value } of points) {
    if (at < from || at > to) continue;
    if (before === undefined || at - before > every * APART) found.push([]);
    before = at;
    const x = ((at - from) / Math.max(1, to - from)) * wide;
    const y = high - (value / Math.max(1, most)) * high;
    found.at(-1)?.push(`${x.toFixed(1)},${y.toFixed(1)}`);
  }
  // A point by itself is a short stroke: a line of one point is not drawn.
  return found.map((piece) => (piece.length === 1 ? `${piece[0]} ${piece[0]?.replace(/^[\d.]+/, (x) => (Number(x) + 1).toFixed(1))}` : piece.join(" ")));
}

/** How a count moved against the one that was `ago` milliseconds earlier, as near as there is one. */
export function change(points: readonly Point[], now: Point, ago: number): { by: number; since: number } | undefined {
  const earlier = points.filter(({ at }) => at <= now.at - ago).at(-1) ?? points[0];
  if (earlier === undefined || earlier.at >= now.at) return undefined;
  return { by: now.value - earlier.value, since: earlier.at };
}
