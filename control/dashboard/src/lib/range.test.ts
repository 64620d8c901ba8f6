import { expect, test } from "vitest";
import { ofField, rangeOf, toField } from "./range";

const NOW = Date.parse("2026-11-28T12:00:00Z");

test("a span ends now, and whatever is no span is the usual one", () => {
  expect(rangeOf({ span: "7d" }, NOW)).toEqual({ since: "7d", until: undefined, seconds: 604_800, live: true });
  expect(rangeOf({}, NOW).since).toBe("1h");
  expect(rangeOf({ span: "bogus", from: "bogus" }, NOW).since).toBe("1h");
});

test("any range, from one moment to another or to now", () => {
  expect(rangeOf({ from: "2026-11-28T10:00:00Z", to: "2026-11-28T11:00:00Z", span: "7d" }, NOW)).toEqual({ since: "2026-11-28T10:00:00.000Z", until: "2026-11-28T11:00:00.000Z", seconds: 3_600, live: false });
  expect(rangeOf({ from: "2026-11-28T10:00:00Z" }, NOW)).toEqual({ since: "2026-11-28T10:00:00.000Z", until: undefined, seconds: 7_200, live: true });
  expect(rangeOf({ from: "2026-11-28T11:00:00Z", to: "2026-11-28T10:00:00Z" }, NOW).since).toBe("2026-11-28T10:00:00.000Z");
});

test("fields are in the reader's zone and lead back", () => {
  const at = "2026-11-28T10:00:07.000Z";
  expect(ofField(toField(at))).toBe(at);
  expect(toField(undefined)).toBe("");
  expect(ofField("")).toBeUndefined();
});
