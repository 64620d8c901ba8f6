// The lines that a page keeps of one log or of several, in the order of their times: bounded, and
// searched as they come.
import type { Line } from "./lines";

/** Lines that a page keeps of a log. */
export const KEPT = 20_000;
/** Characters that it keeps of them. */
const KEPT_CHARACTERS = 8_000_000;

export interface Entry extends Line {
  /** Of this book, from 1. */
  id: number;
  /** Which of the logs. */
  source: number;
  /** When it was written, as far as is known: never less than that of the line before it of the same log. */
  at: number;
  /** It has what is searched for. */
  hit: boolean;
}

export class Book {
  entries: Entry[] = [];
  /** Lines that were there and are not kept any more. */
  dropped = 0;
  /** Lines that ever came. */
  total = 0;
  /** Rises with every change. */
  version = 0;
  private characters = 0;
  private query = "";
  private readonly last: number[] = [];
  private readonly listeners = new Set<() => void>();

  constructor(
    private readonly most = KEPT,
    private readonly mostCharacters = KEPT_CHARACTERS,
  ) {}

  subscribe = (listener: () => void) => {
    this.listeners.add(listener);
    return () => {
      this.listeners.delete(listener);
    };
  };

  /** Lines of one log, in its order: they stand among those of others by their times. */
  add(source: number, lines: readonly Line[]): void {
    if (lines.length === 0) return;
    const fresh = lines.map((line) => this.entry(source, line));
    const first = fresh[0]?.at ?? 0;
    let place = this.entries.length;
    while (place > 0 && (this.entries[place - 1]?.at ?? 0) > first) place--;
    if (place === this.entries.length) for (const entry of fresh) this.entries.push(entry);
    else for (const entry of merged(this.entries.splice(place), fresh)) this.entries.push(entry);
    this.trim();
    this.changed();
  }

  /** Begins with what others keep: each is one of its logs. */
  fill(books: readonly Book[]): void {
    this.clear();
    const all = books.flatMap((book, source) => book.entries.map((entry) => ({ ...entry, source })));
    all.sort((a, b) => a.at - b.at);
    for (const entry of all) {
      this.total += 1;
      entry.id = this.total;
      entry.hit = this.has(entry);
      this.last[entry.source] = entry.at;
      this.characters += entry.text.length;
      this.entries.push(entry);
    }
    this.trim();
    this.changed();
  }

  /** What is searched for, whatever its case; empty: nothing. */
  find(query: string): void {
    const wanted = query.toLowerCase();
    if (wanted === this.query) return;
    this.query = wanted;
    for (const entry of this.entries) entry.hit = this.has(entry);
    this.changed();
  }

  clear(): void {
    this.entries = [];
    this.characters = 0;
    this.dropped = 0;
    this.last.length = 0;
    this.changed();
  }

  private entry(source: number, line: Line): Entry {
    const at = Math.max(line.time ?? 0, this.last[source] ?? 0);
    this.last[source] = at;
    this.total += 1;
    this.characters += line.text.length;
    const entry = { ...line, id: this.total, source, at, hit: false };
    entry.hit = this.has(entry);
    return entry;
  }

  private has({ text, gap }: Line): boolean {
    return this.query !== "" && !gap && text.toLowerCase().includes(this.query);
  }

  private trim(): void {
    let over = Math.max(0, this.entries.length - this.most);
    for (let at = 0; at < over; at++) this.characters -= this.entries[at]?.text.length ?? 0;
    while (this.characters > this.mostCharacters && over < this.entries.length - 1) {
      this.characters -= this.entries[over]?.text.length ?? 0;
      over += 1;
    }
    if (over === 0) return;
    this.entries.splice(0, over);
    this.dropped += over;
  }

  private changed(): void {
    this.version += 1;
    for (const listener of this.listeners) listener();
  }
}

/** Two lists, each in the order of times, as one; of the same time the first one's come first. */
function merged(one: readonly Entry[], other: readonly Entry[]): Entry[] {
  const all: Entry[] = [];
  let next = 0;
  for (const entry of one) {
    for (let before = other[next]; before && before.at < entry.at; before = other[++next]) all.push(before);
    all.push(entry);
  }
  for (; next < other.length; next++) all.push(other[next] as Entry);
  return all;
}

/** Where the first line of this time or later stands. */
export function whereabouts(entries: readonly Entry[], at: number): number {
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((entries[middle]?.at ?? 0) < at) low = middle + 1;
    else high = middle;
  }
  return low;
}

export interface Segment {
  text: string;
  look: string;
  /** It is what is searched for. */
  hit: boolean;
}

/** A line in parts that look alike: by its colours, and by what is searched for. */
export function segments({ text, marks = [] }: Line, query: string, colours: boolean): Segment[] {
  const hits: [number, number][] = [];
  const wanted = query.toLowerCase();
  const within = text.toLowerCase();
  // Where lower case is of another length, nothing is marked within the line.
  if (wanted !== "" && within.length === text.length) for (let at = within.indexOf(wanted); at >= 0; at = within.indexOf(wanted, at + wanted.length)) hits.push([at, at + wanted.length]);
  const used = colours ? marks : [];
  if (used.length === 0 && hits.length === 0) return [{ text, look: "", hit: false }];
  const edges = new Set([0, text.length]);
  for (const { from, to } of used) edges.add(from).add(to);
  for (const [from, to] of hits) edges.add(from).add(to);
  const sorted = [...edges].sort((a, b) => a - b);
  const parts: Segment[] = [];
  let mark = 0;
  let hit = 0;
  for (let index = 0; index + 1 < sorted.length; index++) {
    const from = sorted[index] as number;
    while (used[mark] && (used[mark]?.to ?? 0) <= from) mark++;
    while (hits[hit] && (hits[hit]?.[1] ?? 0) <= from) hit++;
    const within_ = used[mark];
    parts.push({ text: text.slice(from, sorted[index + 1]), look: within_ && within_.from <= from ? within_.look : "", hit: (hits[hit]?.[0] ?? Infinity) <= from });
  }
  return parts;
}

/** Lines as text: with their times as RFC 3339 and the names of their logs, where asked for. */
export function asText(entries: readonly Entry[], times: boolean, names: readonly string[] = []): string {
  const line = ({ text, time, gap, source }: Entry) => {
    if (gap) return `--- ${text}\n`;
    const when = !times ? "" : `${time ? new Date(time * 1000).toISOString().replace(".000Z", "Z") : "unknown".padEnd(20)} `;
    return `${when}${names.length > 0 ? `${names[source] ?? ""} ` : ""}${text}\n`;
  };
  return entries.map(line).join("");
}
