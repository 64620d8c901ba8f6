// Where in a block-style YAML text the cursor is: by indentation, because a text that is being
// typed seldom parses.

export interface Place {
  /** Keys and list positions above; list positions are all 0. */
  path: (string | number)[];
  /** A key is being typed, or the value of `key`. */
  kind: "key" | "value";
  key: string;
  /** What of the word is there already, and where it starts. */
  typed: string;
  from: number;
  /** Keys beside it, which need not be offered again. */
  siblings: string[];
  indent: number;
}

/** The kind of the document that the cursor is in, of several between `---`. */
export function kindAt(text: string, position: number): string | undefined {
  const line = text.slice(0, position).split("\n").length - 1;
  const lines = text.split("\n");
  const ends = (raw: string) => /^(---|\.\.\.)/.test(raw);
  const from = lines.slice(0, line + 1).findLastIndex(ends) + 1;
  const below = lines.slice(line + 1).findIndex(ends);
  const document = lines.slice(from, below < 0 ? lines.length : line + 1 + below);
  return document.map((raw) => /^kind:\s+["']?([A-Za-z]+)/.exec(raw)?.[1]).find((kind) => kind !== undefined);
}

const KEY = /^(\s*)((?:- +)*)(?:"([^"]*)"|([A-Za-z0-9_./-]+))\s*:(?:\s|$)/;

interface Read {
  /** Column of the dash, where there is one. */
  dash: number;
  /** Column of the key. */
  column: number;
  key: string | undefined;
}

function readLine(line: string): Read | undefined {
  if (/^\s*(#|$)/.test(line)) return undefined;
  const found = KEY.exec(line);
  const lead = /^(\s*)((?:- *)*)/.exec(line);
  const dash = lead?.[2] ? (lead[1]?.length ?? 0) : -1;
  const column = (lead?.[1]?.length ?? 0) + (lead?.[2]?.length ?? 0);
  return { dash, column, key: found ? (found[3] ?? found[4]) : undefined };
}

export function cursor(text: string, position: number): Place | undefined {
  const start = text.lastIndexOf("\n", position - 1) + 1;
  const line = text.slice(start, position);
  const value = /^(\s*(?:- +)*)([A-Za-z0-9_./-]+):\s+([^\s#{["']*)$/.exec(line);
  const word = /^(\s*(?:- +)*)([A-Za-z0-9_-]*)$/.exec(line);
  if (!value && !word) return undefined;
  const lead = (value ?? word)?.[1] ?? "";
  const above = text.slice(0, Math.max(0, start - 1)).split("\n");
  if (start === 0) above.length = 0;
  const path: (string | number)[] = [];
  const siblings: string[] = [];
  let column = lead.length;
  let level = column;
  if (lead.includes("-")) {
    path.unshift(0);
    level = lead.indexOf("-");
    column = -1;
  }
  for (let index = above.length - 1; index >= 0; index--) {
    const raw = above[index] ?? "";
    if (/^(---|\.\.\.)/.test(raw)) break;
    const read = readLine(raw);
    if (!read) continue;
    if (column >= 0 && read.column === column && read.key !== undefined) {
      if (level === column) siblings.push(read.key);
      if (read.dash >= 0) {
        path.unshift(0);
        level = read.dash;
        column = -1;
      }
      continue;
    }
    // The key above: further left, or (of a list) as far left as the dashes.
    const isAbove = read.key !== undefined && (column >= 0 ? read.column < column : read.dash < 0 ? read.column <= level : read.column < level);
    if (!isAbove) continue;
    path.unshift(read.key ?? "");
    column = read.column;
    level = -1;
    if (read.dash >= 0) {
      path.unshift(0);
      level = read.dash;
      column = -1;
    }
  }
  const typed = value ? (value[3] ?? "") : (word?.[2] ?? "");
  return {
    path: value ? [...path, value[2] ?? ""] : path,
    kind: value ? "value" : "key",
    key: value?.[2] ?? "",
    typed,
    from: position - typed.length,
    siblings: siblingsBelow(text, position, lead.length, siblings),
    indent: lead.length,
  };
}

function siblingsBelow(text: string, position: number, column: number, found: string[]): string[] {
  for (const raw of text.slice(position).split("\n").slice(1)) {
    const read = readLine(raw);
    if (!read) continue;
    if (read.column < column || read.dash >= 0) break;
    if (read.column === column && read.key !== undefined) found.push(read.key);
  }
  return found;
}
