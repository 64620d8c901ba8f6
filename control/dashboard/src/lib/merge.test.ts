import { expect, test } from "vitest";
import { merge } from "./merge";

test("changes at different places come together", () => {
  expect(merge({ a: 1, b: { c: 1, d: 1 } }, { a: 2, b: { c: 1, d: 1 } }, { a: 1, b: { c: 1, d: 3 }, e: 5 })).toEqual({ value: { a: 2, b: { c: 1, d: 3 }, e: 5 }, conflicts: [] });
});
test("what one removed and nobody touched is gone; what another touched is a conflict", () => {
  expect(merge({ a: 1, b: 1 }, { b: 1 }, { a: 1, b: 2 })).toEqual({ value: { b: 2 }, conflicts: [] });
  expect(merge({ a: 1 }, {}, { a: 2 })).toEqual({ value: {}, conflicts: [{ path: ["a"], theirs: 2 }] });
});
test("both changed the same: mine stands, theirs is told", () => {
  expect(merge({ x: { a: 1 } }, { x: { a: 2 } }, { x: { a: 3 } })).toEqual({ value: { x: { a: 2 } }, conflicts: [{ path: ["x", "a"], theirs: 3 }] });
  expect(merge({ l: [1] }, { l: [1, 2] }, { l: [1, 2] })).toEqual({ value: { l: [1, 2] }, conflicts: [] });
});
test("keys of the prototype are keys like others", () => {
  expect(merge({}, JSON.parse('{"constructor":{"a":1}}'), {}).value).toEqual({ constructor: { a: 1 } });
});
