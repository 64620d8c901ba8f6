import { expect, test } from "vitest";
import { again, FIRST, looks, Pace, SLOWEST, SOON } from "./pace";

/** Reads when it is due, for changes of `by` every second over so many seconds. */
function reads(pace: Pace, by: string, from: number, seconds: number): number[] {
  const at: number[] = [];
  let due: number | undefined;
  for (let second = 0; second < seconds; second++) {
    const now = from + second * 1000;
    if (due !== undefined && due <= now) {
      pace.read("fleet", due);
      at.push(due - from);
      due = undefined;
    }
    due ??= pace.due("fleet", by, now);
  }
  return at;
}

test("the first change is read at once, the same one over and over ever less often", () => {
  const at = reads(new Pace(), "device/a", 0, 600);
  expect(at[0]).toBe(SOON);
  const gaps = at.slice(1).map((time, index) => time - (at[index] ?? 0));
  expect(gaps.slice(0, 3)).toEqual([2 * FIRST, 4 * FIRST, 8 * FIRST]);
  expect(gaps.at(-1)).toBe(SLOWEST);
  expect(at.length).toBeLessThan(18);
});

test("another object is news, and is read soon", () => {
  const pace = new Pace();
  reads(pace, "device/a", 0, 600);
  const now = 600_000;
  expect(pace.due("fleet", "device/a", now) - now).toBeGreaterThan(5_000);
  expect(pace.due("fleet", "device/b", now) - now).toBeLessThanOrEqual(FIRST);
});

test("what the reader does brings the pace back, and a rest makes the next change a first one", () => {
  const pace = new Pace();
  reads(pace, "device/a", 0, 600);
  pace.act(600_000);
  expect(pace.due("fleet", "device/a", 600_000)).toBeLessThanOrEqual(600_000 + FIRST);
  const rested = new Pace();
  reads(rested, "device/a", 0, 600);
  expect(rested.due("fleet", "device/a", 900_000)).toBe(900_000 + SOON);
});

test("records are read again every 10 s at first, then less often", () => {
  expect([0, 59_000, 61_000, 600_000].map(again)).toEqual([10_000, 10_000, 30_000, 90_000]);
});

test("a device is asked every 12 s while it is really looked at, then less often", () => {
  expect([0, 119_000, 121_000, 11 * 60_000].map(looks)).toEqual([12_000, 12_000, 60_000, 300_000]);
});
