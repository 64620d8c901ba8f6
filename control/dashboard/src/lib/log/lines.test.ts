import { expect, test } from "vitest";
import { Frames, Lines, Reader } from "./lines";

test("pieces become lines, wherever they are cut", () => {
  const lines = new Lines();
  expect(lines.push("one\ntw")).toEqual([{ text: "one" }]);
  expect(lines.push("o\n\nthree")).toEqual([{ text: "two" }, { text: "" }]);
  expect(lines.end()).toEqual([{ text: "three" }]);
});
test("a line has the time of its first piece", () => {
  const lines = new Lines();
  expect(lines.push("a\nb", 5)).toEqual([{ text: "a", time: 5 }]);
  expect(lines.push("c\nd\n", 9)).toEqual([{ text: "bc", time: 5 }, { text: "d", time: 9 }]);
  expect(lines.push("e\n", 0)).toEqual([{ text: "e", time: 0 }]);
});
test("a framed log is read however it is cut, over an interruption, and says what is missing", () => {
  const bytes = (text: string) => new TextEncoder().encode(text);
  const answer = bytes('{"log":7,"offset":5,"length":6,"times":[[2,60],[4,70]]}\na\nbü\n{"log":7,"offset":11,"length":0}\n');
  for (let step = 1; step <= answer.length; step++) {
    const frames = new Frames();
    const reader = new Reader();
    const lines = [];
    for (let at = 0; at < answer.length; at += step)
      for (const piece of frames.push(answer.subarray(at, at + step))) lines.push(...reader.take(piece));
    expect(lines).toEqual([{ text: "a", time: 60 }, { text: "bü", time: 70 }]);
    expect(reader.place).toBe("7-11");
    const body = bytes("c\n");
    const gap = reader.take({ head: { log: 7, offset: 1_031, length: 2, lost: 1_020 }, body });
    expect(gap).toEqual([{ text: "1,020 bytes of the log were cut before they were read", gap: true }, { text: "c" }]);
    expect(() => reader.take({ head: { log: 0, offset: 0, length: 0, error: "gone" }, body: bytes("") })).toThrow("gone");
  }
});
test("colours hold over the ends of lines, and end with a gap", () => {
  const lines = new Lines();
  const red = (to: number) => [{ from: 0, to, look: "red" }];
  expect(lines.push("\u001b[31mone\ntwo\u001b[0m\nthree\n")).toEqual([{ text: "one", marks: red(3) }, { text: "two", marks: red(3) }, { text: "three" }]);
  lines.push("\u001b[31mx\n");
  lines.end();
  expect(lines.push("y\n")).toEqual([{ text: "y" }]);
});
test("a silence is no word, and no line", () => {
  const reader = new Reader();
  expect(reader.take({ head: { log: 0, offset: 0, length: 0, silent: 20 }, body: new Uint8Array() })).toEqual([]);
  expect(reader.place).toBeUndefined();
});
