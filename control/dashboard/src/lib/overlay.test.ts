import { expect, test } from "vitest";
import { lineName, overlayOf, overlayText } from "./overlay";

test("lines stand in an address and come back, whatever their names are", () => {
  const lines = [{ device: "pump-1", stream: "pump/temp a,b", field: "motor.`x/y`" }, { device: "pump-2", stream: "t", field: "" }];
  expect(overlayOf(overlayText(lines))).toEqual(lines);
  expect(overlayText([])).toBeUndefined();
});

test("what is no line is left out, and there are five at most", () => {
  expect(overlayOf(undefined)).toEqual([]);
  expect(overlayOf("x,%/b/c,/b/c,a/b/c")).toEqual([{ device: "a", stream: "b", field: "c" }]);
  expect(overlayOf(Array.from({ length: 9 }, (_, at) => `d${at}/s/`).join(","))).toHaveLength(5);
});

test("a line is called by what differs", () => {
  const first = { device: "a", stream: "s", field: "t" };
  expect(lineName(first, first)).toBe("t");
  expect(lineName({ ...first, field: "u" }, first)).toBe("u");
  expect(lineName({ ...first, device: "b" }, first)).toBe("b t");
  expect(lineName({ device: "b", stream: "s", field: "" }, first)).toBe("b");
});
