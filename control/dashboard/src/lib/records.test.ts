import { expect, test } from "vitest";
import { aligned, folded, lines, minutes, numbers, polyline, readable, short } from "./records";

test("numbers are found by their paths", () => {
  expect(numbers(3)).toEqual([""]);
  expect(numbers({ t: 1, pos: { x: 2, name: "a" }, list: [1], none: null })).toEqual(["t", "pos.x"]);
  expect(numbers("text")).toEqual([]);
  expect(numbers({ "motor.current": 1, motor: { current: 2 }, in: 3, "a b": 4 })).toEqual(["`motor.current`", "motor.current", "`in`", "`a b`"]);
});

test("lines share one axis of time", () => {
  expect(aligned([{ label: "a", points: [[1, 10], [3, 30]] }, { label: "b", points: [[2, 20], [3, null]] }])).toEqual([[1, 2, 3], [10, null, 30], [null, 20, null]]);
  expect(aligned([])).toEqual([[]]);
});

test("a sparkline fills its place, also when nothing changes", () => {
  expect(polyline([[0, 0], [5, 10], [10, 5]], 100, 20)).toBe("0.0,20.0 50.0,0.0 100.0,10.0");
  expect(polyline([[0, 7], [10, 7]], 100, 20)).toBe("0.0,10.0 100.0,10.0");
  expect(polyline([], 100, 20)).toBe("");
});

test("an answer's windows become a line for each group", () => {
  const rows = [
    { group: { site: "b" }, window: "1970-01-01T00:01:00Z", values: { count: 2 } },
    { group: { site: "b" }, window: "1970-01-01T00:00:00Z", values: { count: 1 } },
    { group: { site: null }, window: "1970-01-01T00:00:00Z", values: { count: null } },
    { group: {}, window: null, values: { count: 9 } },
  ];
  expect(lines(rows, "count")).toEqual([{ label: "b", points: [[0, 1], [60, 2]] }, { label: "null", points: [[0, null]] }]);
});

test("long values are cut", () => {
  expect(short({ a: 1 })).toBe('{"a":1}');
  expect(short("x".repeat(90))).toHaveLength(81);
});

test("a series is one line beside others, and three alone", () => {
  const point = (count: number) => ({ time: "1970-01-01T00:00:01Z", min: 1, mean: 2, max: 3, count });
  expect(folded([point(1)], "", false, false)).toEqual([{ label: "value", points: [[1, 2]] }]);
  expect(folded([point(2)], "", false, false).map(({ label, points }) => [label, points[0]?.[1]])).toEqual([["mean", 2], ["least", 1], ["greatest", 3]]);
  expect(folded([point(2)], "pump-2 temp", true, true)).toEqual([{ label: "pump-2 temp", points: [[1, 2]], right: true }]);
});

test("gaps of a sparkline are left out", () => expect(minutes([1, null, 3])).toEqual([[0, 1], [2, 3]]));

test("texts are read as they are, the rest as JSON", () => {
  expect(readable("pump runs\n")).toBe("pump runs");
  expect(readable({ a: [1] })).toBe('{"a":[1]}');
  expect(readable({ a: 1 }, 2)).toBe('{\n  "a": 1\n}');
});
