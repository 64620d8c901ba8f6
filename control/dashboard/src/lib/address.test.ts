import { expect, test } from "vitest";
import { known, said } from "./address";

const allowed = { connection: ["online", "offline"], sort: (value: string) => /^-?(name|problems)$/.test(value) };

test.each([
  [{ connection: "online", sort: "-problems", q: "x" }, { connection: "online", sort: "-problems", q: "x" }, []],
  [{ connection: "bogus", sort: "bogus", q: "x" }, { q: "x" }, ["connection", "sort"]],
  [{ connection: "", sort: undefined }, { connection: "", sort: undefined }, []],
])("%j", (search, kept, ignored) => {
  const found = known(search as Record<string, string | undefined>, allowed);
  expect(found.search).toEqual(kept);
  expect(found.ignored.map(({ key }) => key)).toEqual(ignored);
});

test("what was left out is said", () => {
  expect(said([])).toBe("");
  expect(said([{ key: "sort", value: "bogus" }])).toContain("sort=bogus");
});
