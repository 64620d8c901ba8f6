import { expect, test } from "vitest";
import { Lines, plain } from "./log";

test("pieces become lines, wherever they are cut", () => {
  const lines = new Lines();
  expect(lines.push("one\ntw")).toEqual(["one"]);
  expect(lines.push("o\n\nthree")).toEqual(["two", ""]);
  expect(lines.end()).toEqual(["three"]);
});
test("terminal codes go, other control characters show, markup stays text", () => {
  expect(plain("\u001b[31mred\u001b[0m <b>x</b>\u0007\u202e\r")).toBe("red <b>x</b>\ufffd\ufffd");
});
