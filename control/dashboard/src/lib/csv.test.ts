import { describe, expect, test } from "vitest";
import { cell, line, MOST_KEYS, sheet } from "./csv";

describe("a cell", () => {
  test.each([
    ["gw-1", "gw-1"],
    ["", ""],
    [undefined, ""],
    [7, "7"],
    [-7, "-7"],
    ["a,b", '"a,b"'],
    ['say "hi"', '"say ""hi"""'],
    ["two\nlines", '"two\nlines"'],
    [" edges ", '" edges "'],
  ])("%j is %j", (value, text) => expect(cell(value)).toBe(text));

  test.each(["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "=HYPERLINK(\"http://x\")", "  =1+1", "-"])("%j is no formula", (value) => {
    const written = cell(value);
    expect(written.startsWith("\"'")).toBe(true);
    expect(written.slice(2, -1).replaceAll('""', '"')).toBe(value);
  });
});

test("a line ends as RFC 4180 wants it", () => expect(line(["a", 1, null])).toBe("a,1,\r\n"));

test("labels have a column each, whoever has them", () => {
  const rows: Parameters<typeof sheet>[1] = [{ values: ["d-1"], labels: { site: "north" } }, { values: ["d-2"], labels: { role: "=cmd" } }];
  expect(sheet(["name"], rows)).toEqual(["name,label role,label site\r\n", "d-1,,north\r\n", "d-2,\"'=cmd\",\r\n"]);
});

test("where there are too many keys, all labels stand in one column", () => {
  const labels = Object.fromEntries(Array.from({ length: MOST_KEYS + 1 }, (_, at) => [`k${at}`, "v"]));
  expect(sheet(["name"], [{ values: ["d"], labels }])[0]).toBe("name,labels\r\n");
});
