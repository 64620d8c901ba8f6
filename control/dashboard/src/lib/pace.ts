// How soon what changed is read anew. The first change is read at once; while the same objects go on
// changing (a crash loop), what they change is read ever less often; another object, a rest or
// something that the reader does brings the pace back.

/** After a change that is the first in a while, in milliseconds. */
export const SOON = 120;
/** Between two reads of the same at first, and at most. */
export const FIRST = 1_500;
export const SLOWEST = 120_000;
/** After so long without a change the next one is a first one again. */
const REST = 180_000;
/** The pace is kept up for this long after the reader did something. */
const ATTENTIVE = 20_000;

interface Known {
  /** When it was last read anew. */
  last: number;
  /** The pause that follows. */
  gap: number;
  /** What has changed it lately, and when. */
  by: Map<string, number>;
}

export class Pace {
  private readonly known = new Map<string, Known>();
  private acted = -Infinity;

  /** When to read `key` anew, now that `by` has changed: a time, not a wait. */
  due(key: string, by: string, now: number): number {
    const known = this.known.get(key) ?? { last: -Infinity, gap: FIRST, by: new Map<string, number>() };
    this.known.set(key, known);
    const before = known.by.get(by);
    known.by.set(by, now);
    // What nobody has seen change lately is news.
    if (before === undefined || now - before > REST) known.gap = FIRST;
    return Math.max(now + SOON, known.last + known.gap);
  }

  /** `key` is read anew now. */
  read(key: string, now: number): void {
    const known = this.known.get(key);
    if (!known) return;
    known.gap = now - this.acted < ATTENTIVE ? FIRST : Math.min(SLOWEST, known.gap * 2);
    known.last = now;
    for (const [by, at] of known.by) if (now - at > REST) known.by.delete(by);
  }

  /** The reader did something: all that waits may be read now. */
  act(now: number): void {
    this.acted = now;
    for (const known of this.known.values()) known.gap = FIRST;
  }
}

/** Between two reads of what nobody tells of (records), by how long ago the reader did something. */
export function again(idle: number): number {
  if (idle < 60_000) return 10_000;
  if (idle < 5 * 60_000) return 30_000;
  return 90_000;
}

/** Between two times that a device which is looked at is asked whether it answers, likewise: each costs
 * its link half a kilobyte. */
export function looks(idle: number): number {
  if (idle < 2 * 60_000) return 12_000;
  if (idle < 10 * 60_000) return 60_000;
  return 300_000;
}
