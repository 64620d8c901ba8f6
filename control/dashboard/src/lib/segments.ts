// The rows of a table that is grouped: each group is a heading and, while it is open, its devices.
// A row is found by its number alone, so that only what is seen is read and drawn.

export interface Segment {
  /** How many devices it has. */
  devices: number;
  /** Whether they are shown below its heading. */
  open: boolean;
}

export type Place = { segment: number; heading: true } | { segment: number; heading: false; at: number };

/** For each segment the number of its first row; at the end the number of all rows. */
export function starts(segments: readonly Segment[], headings: boolean): number[] {
  const all = [0];
  for (const { devices, open } of segments) all.push((all.at(-1) ?? 0) + (headings ? 1 : 0) + (open ? devices : 0));
  return all;
}

/** What stands in a row. */
export function place(starts: readonly number[], headings: boolean, row: number): Place {
  let low = 0;
  let high = starts.length - 2;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((starts[middle] ?? 0) <= row) low = middle;
    else high = middle - 1;
  }
  const within = row - (starts[low] ?? 0);
  return headings && within === 0 ? { segment: low, heading: true } : { segment: low, heading: false, at: within - (headings ? 1 : 0) };
}
