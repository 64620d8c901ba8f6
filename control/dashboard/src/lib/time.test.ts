import { expect, test } from "vitest";
import { exact, relative, span } from "./time";

test.each([
  [0, "0 s"], [59, "59 s"], [60, "1 min"], [119 * 60, "119 min"], [120 * 60, "2 h"], [47 * 3600, "47 h"], [48 * 3600, "2 d"], [400 * 86_400, "1 y"], [-4, "0 s"],
])("a span of %d seconds is %s", (seconds, words) => expect(span(seconds)).toBe(words));

test.each([
  [0, "just now"], [-4_000, "just now"], [-61_000, "in 1 min"], [-3_600_000 * 4 + 3_000, "in 4 h"], [3_600_000 * 4 - 3_000, "3 h ago"], [180_000, "3 min ago"], [86_400_000 * 3, "3 d ago"],
])("%d ms ago is %s", (ago, words) => expect(relative(1_000_000_000_000, 1_000_000_000_000 + ago)).toBe(words));

test("the exact time has its zone", () => {
  // Versions of ICU differ in a comma.
  expect(exact(Date.UTC(2026, 10, 23, 21, 0, 7), "en-GB", "Europe/Berlin").replace(",", "")).toBe("Monday 23 November 2026 at 22:00:07 CET");
});
