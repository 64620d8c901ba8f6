import { expect, test } from "vitest";
import { Frames, Lines, Reader, plain } from "./log";

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
test("terminal codes go, other control characters show, markup stays text", () => {
  expect(plain("\u001b[31mred\u001b[0m <b>x</b>\u0007\u202e\r")).toBe("red <b>x</b>\ufffd\ufffd");
});
