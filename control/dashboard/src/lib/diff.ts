// Differences of two texts by line (Myers), for people to read.

export interface Line {
  kind: "same" | "add" | "remove";
  text: string;
  /** Line numbers from 1, where the line is there. */
  old?: number;
  new?: number;
}

/** Above this many different lines the middle is shown as replaced whole. */
const MOST = 4_000;

export function diff(before: string, after: string): Line[] {
  const a = split(before);
  const b = split(after);
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end++;
  const lines: Line[] = [];
  let [oldAt, newAt] = [0, 0];
  const push = (kind: Line["kind"], text: string) => {
    const line: Line = { kind, text };
    if (kind !== "add") line.old = ++oldAt;
    if (kind !== "remove") line.new = ++newAt;
    lines.push(line);
  };
  for (const text of a.slice(0, start)) push("same", text);
  for (const [kind, text] of middle(a.slice(start, a.length - end), b.slice(start, b.length - end))) push(kind, text);
  for (const text of a.slice(a.length - end)) push("same", text);
  return lines;
}

function split(text: string): string[] {
  if (text === "") return [];
  return (text.endsWith("\n") ? text.slice(0, -1) : text).split("\n");
}

function middle(a: string[], b: string[]): [Line["kind"], string][] {
  const n = a.length;
  const m = b.length;
  if (n === 0 || m === 0 || n + m > MOST) {
    return [...a.map((text): [Line["kind"], string] => ["remove", text]), ...b.map((text): [Line["kind"], string] => ["add", text])];
  }
  const max = n + m;
  const trace: Int32Array[] = [];
  const v = new Int32Array(2 * max + 2);
  const at = (k: number) => v[k + max] ?? 0;
  search: for (let d = 0; d <= max; d++) {
    trace.push(v.slice());
    for (let k = -d; k <= d; k += 2) {
      let x = k === -d || (k !== d && at(k - 1) < at(k + 1)) ? at(k + 1) : at(k - 1) + 1;
      let y = x - k;
      while (x < n && y < m && a[x] === b[y]) {
        x++;
        y++;
      }
      v[k + max] = x;
      if (x >= n && y >= m) break search;
    }
  }
  const found: [Line["kind"], string][] = [];
  let [x, y] = [n, m];
  for (let d = trace.length - 1; d >= 0; d--) {
    const then = trace[d] ?? v;
    const was = (k: number) => then[k + max] ?? 0;
    const k = x - y;
    const from = k === -d || (k !== d && was(k - 1) < was(k + 1)) ? k + 1 : k - 1;
    const px = was(from);
    const py = px - from;
    while (x > px && y > py) {
      found.push(["same", a[x - 1] ?? ""]);
      x--;
      y--;
    }
    if (d > 0) {
      if (x === px) found.push(["add", b[y - 1] ?? ""]);
      else found.push(["remove", a[x - 1] ?? ""]);
      [x, y] = [px, py];
    }
  }
  return found.reverse();
}

/** Only what changed, with some lines around; `skipped` says how many were left out before. */
export function hunks(lines: readonly Line[], around = 3): (Line | { kind: "skip"; skipped: number })[] {
  const keep = new Set<number>();
  lines.forEach((line, index) => {
    if (line.kind !== "same") for (let i = index - around; i <= index + around; i++) keep.add(i);
  });
  const shown: (Line | { kind: "skip"; skipped: number })[] = [];
  let skipped = 0;
  lines.forEach((line, index) => {
    if (keep.has(index)) {
      if (skipped > 0) shown.push({ kind: "skip", skipped });
      skipped = 0;
      shown.push(line);
    } else skipped++;
  });
  if (skipped > 0) shown.push({ kind: "skip", skipped });
  return shown;
}
