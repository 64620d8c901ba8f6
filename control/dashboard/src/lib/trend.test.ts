import { expect, test } from "vitest";
import { change, pieces } from "./trend";

const MINUTE = 60_000;
const at = (minutes: number, value: number) => ({ at: minutes * MINUTE, value });

test("a line breaks where nothing was counted", () => {
  const points = [at(0, 0), at(5, 10), at(10, 10), at(40, 5), at(45, 0)];
  expect(pieces(points, 5 * MINUTE, 0, 50 * MINUTE, 10, 100, 20)).toEqual(["0.0,20.0 10.0,0.0 20.0,0.0", "80.0,10.0 90.0,20.0"]);
});

test("a point by itself is a stroke, and what is older than the box is left out", () => {
  expect(pieces([at(0, 1), at(30, 1)], 5 * MINUTE, 10 * MINUTE, 60 * MINUTE, 1, 100, 20)).toEqual(["40.0,0.0 41.0,0.0"]);
  expect(pieces([], 5 * MINUTE, 0, 1, 0, 100, 20)).toEqual([]);
});

test("the change is against an hour ago, or as far back as there is anything", () => {
  const points = [at(0, 7), at(30, 9), at(60, 9)];
  expect(change(points, at(90, 4), 60 * MINUTE)).toEqual({ by: -5, since: 30 * MINUTE });
  expect(change(points, at(61, 4), 120 * MINUTE)).toEqual({ by: -3, since: 0 });
  expect(change([], at(61, 4), 120 * MINUTE)).toBeUndefined();
});
