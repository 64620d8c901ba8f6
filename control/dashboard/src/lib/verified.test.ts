import { expect, test } from "vitest";
import { verified } from "./verified";

test("a verification in a sentence", () => {
  const said = { of: 4, agree: 3, disagree: 0, none: 0, away: 1 };
  expect(verified({ intact: true, entries: 41, witnesses: said })).toBe("Chain verified, 41 entries; witnesses: 3 of 4 agree, 1 away");
  expect(verified({ intact: true, entries: 1 })).toBe("Chain verified, 1 entry");
  expect(verified({ intact: true, entries: 41, whole: { tenants: 2, entries: 90 } })).toBe("Chain verified, 41 entries (of all 2 tenants 90 entries)");
  expect(verified({ intact: false, entries: 7, witnesses: { ...said, agree: 2, disagree: 1 } })).toBe("The audit log is not intact; witnesses: 2 of 4 agree, 1 disagree, 1 away");
});
