import { expect, test } from "vitest";
import { coloured } from "./ansi";

const told = (line: string) => {
  const { text, marks } = coloured(line, {});
  return [text, ...marks.map(({ from, to, look }) => `${from}-${to} ${look}`)];
};

test.each([
  ["plain", ["plain"]],
  ["\u001b[31mred\u001b[0m and not", ["red and not", "0-3 red"]],
  ["a \u001b[1;92mgood\u001b[22m one\u001b[m.", ["a good one.", "2-6 green bold", "6-10 green"]],
  ["\u001b[41;37m FATAL \u001b[0m x", [" FATAL  x", "0-7 on-red"]],
  ["\u001b[7;33mturned\u001b[27m back", ["turned back", "0-6 on-yellow", "6-11 yellow"]],
  ["\u001b[38;5;196mr\u001b[38;5;21mb\u001b[38;5;250mw\u001b[39m-", ["rbw-", "0-1 red", "1-2 blue", "2-3 white"]],
  ["\u001b[38;2;0;200;190mc\u001b[48;2;10;10;10;3mi", ["ci", "0-1 cyan", "1-2 on-black italic"]],
  // What steers a terminal goes; other control characters show; markup stays text.
  ["\u001b[2J\u001b[1;1H\u001b]0;title\u0007<b>x</b>\u0007\u202e\r", ["<b>x</b>\ufffd\ufffd"]],
  ["10%\r20%\r\r", ["10%\ufffd20%"]],
  ["cut \u001b[31", ["cut "]],
  ["\u001b[38;5m x \u001b[;m", [" x "]],
])("%j", (line, expected) => expect(told(line)).toEqual(expected));

test("a long line is cut, and so are its colours", () => {
  const { text, marks } = coloured(`\u001b[31m${"x".repeat(5_000)}`, {});
  expect(text).toMatch(/^x{4000}… \(5,000 characters\)$/);
  expect(marks).toEqual([{ from: 0, to: 4_000, look: "red" }]);
  expect(coloured("\u001b[31mx\u001b[32my".repeat(5_000), {}).marks.length).toBe(200);
});

test("colours go on in the next line", () => {
  const { pen } = coloured("\u001b[1;31mone", {});
  expect(coloured("two", pen).marks).toEqual([{ from: 0, to: 3, look: "red bold" }]);
  expect(coloured("", pen).marks).toEqual([]);
});
