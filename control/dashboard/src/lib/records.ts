// Records and answers as charts need them: numbers by time.

export interface Line {
  label: string;
  /** Seconds since 1970, and the number there; null breaks the line. */
  points: readonly (readonly [number, number | null])[];
  /** It has its axis on the right: its numbers are of another sort. */
  right?: boolean;
}

/** Words of the language of questions, which a path does not begin with. */
const KEYWORDS = new Set(["and", "or", "not", "in", "contains", "exists", "true", "false", "null"]);

/** A name as a part of a path: in back quotes unless it is a word. */
const part = (name: string) => (/^[\p{L}\p{N}_-]+$/u.test(name) && !KEYWORDS.has(name) ? name : `\`${name}\``);

/** Paths of the numbers in a value, as questions have them; the empty path: it is a number itself. */
export function numbers(value: unknown, path = "", found: string[] = []): string[] {
  if (typeof value === "number") found.push(path);
  else if (value !== null && typeof value === "object" && !Array.isArray(value) && path.split(".").length < 6) {
    for (const [name, inner] of Object.entries(value)) if (!name.includes("`")) numbers(inner, path ? `${path}.${part(name)}` : part(name), found);
  }
  return found;
}

/** All times of several lines in their order, and each line's numbers at them: as uPlot has it. */
export function aligned(lines: readonly Line[]): (number | null)[][] {
  const times = [...new Set(lines.flatMap(({ points }) => points.map(([at]) => at)))].sort((a, b) => a - b);
  const at = new Map(times.map((time, index) => [time, index]));
  const columns = lines.map(({ points }) => {
    const column = new Array<number | null>(times.length).fill(null);
    for (const [time, value] of points) column[at.get(time) ?? 0] = value;
    return column;
  });
  return [times, ...columns];
}

/** Points of an SVG polyline that fill `width` by `height`. Empty: there is nothing to draw. */
export function polyline(points: readonly (readonly [number, number])[], width: number, height: number): string {
  if (points.length === 0) return "";
  const [xs, ys] = [points.map(([x]) => x), points.map(([, y]) => y)];
  const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const place = (value: number, from: number, to: number, size: number) => (to > from ? ((value - from) / (to - from)) * size : size / 2);
  return points.map(([x, y]) => `${place(x, left, right, width).toFixed(1)},${(height - place(y, low, high, height)).toFixed(1)}`).join(" ");
}

/** A value in short. */
export function short(value: unknown, most = 80): string {
  const text = typeof value === "string" ? value : (JSON.stringify(value) ?? "");
  return text.length > most ? `${text.slice(0, most)}…` : text;
}

export interface AnswerRow {
  group: Record<string, unknown>;
  window?: string | null | undefined;
  values: Record<string, unknown>;
}

/** One selected value of an answer by group over its windows. */
export function lines(rows: readonly AnswerRow[], value: string): Line[] {
  const found = new Map<string, [number, number | null][]>();
  for (const { group, window, values } of rows) {
    if (!window) continue;
    const label = Object.values(group).map((part) => short(part, 40)).join(", ") || value;
    const number = values[value];
    const points = found.get(label) ?? [];
    points.push([Date.parse(window) / 1000, typeof number === "number" ? number : null]);
    found.set(label, points);
  }
  return [...found].map(([label, points]) => ({ label, points: points.sort(([a], [b]) => a - b) }));
}

interface Folded {
  time: string;
  min: number;
  max: number;
  mean: number;
  count: number;
}

/** A series as lines: the records themselves where each part holds one, else mean, least and
 * greatest; beside others the mean alone. */
export function folded(points: readonly Folded[], name: string, beside: boolean, right: boolean): Line[] {
  const line = (label: string, pick: (point: Folded) => number): Line => ({ label: [name, label].filter(Boolean).join(" "), points: points.map((point) => [Date.parse(point.time) / 1000, pick(point)] as const), ...(right ? { right } : {}) });
  if (beside) return [line("", ({ mean }) => mean)];
  if (points.every(({ count }) => count === 1)) return [line("value", ({ mean }) => mean)];
  return [line("mean", ({ mean }) => mean), line("least", ({ min }) => min), line("greatest", ({ max }) => max)];
}

/** Means a minute each, as a sparkline has them. */
export function minutes(values: readonly unknown[]): (readonly [number, number])[] {
  return values.flatMap((value, at) => (typeof value === "number" ? [[at, value] as const] : []));
}

/** A value as text that is read: texts as they are, the rest as JSON. */
export function readable(value: unknown, indent?: number): string {
  return typeof value === "string" ? value.replace(/\n$/, "") : (JSON.stringify(value, null, indent) ?? "");
}
