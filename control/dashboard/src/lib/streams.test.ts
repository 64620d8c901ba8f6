import { expect, test } from "vitest";
import { problemOf, sorted, waitingOf } from "./streams";

const items = [
  { stream: "a", missing: 0 },
  { stream: "b/Temp", missing: 3 },
  { stream: "c/temp", missing: 0, reported: { problem: "no field x", waiting: 4 } },
];

test("what needs a look comes first", () => {
  expect(sorted(items, "").map(({ stream }) => stream)).toEqual(["c/temp", "b/Temp", "a"]);
  expect(sorted(items, " TEMP ").map(({ stream }) => stream)).toEqual(["c/temp", "b/Temp"]);
});

test("what a device says of a stream may be absent", () => {
  expect(items.map(problemOf)).toEqual(["", "", "no field x"]);
  expect(items.map(waitingOf)).toEqual([undefined, undefined, 4]);
});
