import { expect, test } from "vitest";
import { diff, hunks } from "./diff";

const shape = (before: string, after: string) =>
  diff(before, after).map((line) => `${{ same: " ", add: "+", remove: "-" }[line.kind]}${line.text}`);

test("a change in the middle", () => expect(shape("a\nb\nc\n", "a\nx\nc\n")).toEqual([" a", "-b", "+x", " c"]));
test("from nothing and to nothing", () => {
  expect(shape("", "a\n")).toEqual(["+a"]);
  expect(shape("a\n", "")).toEqual(["-a"]);
  expect(shape("a", "a\n")).toEqual([" a"]);
});
test("two changes far apart keep what is between", () => {
  expect(shape("1\n2\n3\n4\n5", "0\n2\n3\n4\n6")).toEqual(["-1", "+0", " 2", " 3", " 4", "-5", "+6"]);
});
test("both texts can be read back from any difference", () => {
  let seed = 7;
  const random = (below: number) => (seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648) % below;
  for (let round = 0; round < 300; round++) {
    const text = () => Array.from({ length: random(12) }, () => "abc"[random(3)]).join("\n");
    const [before, after] = [text(), text()];
    const lines = diff(before, after);
    const side = (not: string) => lines.filter((line) => line.kind !== not).map((line) => line.text).join("\n");
    expect(side("add")).toBe(before.replace(/\n$/, ""));
    expect(side("remove")).toBe(after.replace(/\n$/, ""));
  }
});
test("hunks leave out what is the same and say how much", () => {
  const before = Array.from({ length: 30 }, (_, i) => `${i}`).join("\n");
  const shown = hunks(diff(before, before.replace("15", "x")), 1);
  expect(shown.map((line) => (line.kind === "skip" ? line.skipped : line.text))).toEqual([14, "14", "15", "x", "16", 13]);
});
