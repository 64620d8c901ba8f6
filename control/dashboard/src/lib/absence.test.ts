import { describe, expect, it } from "vitest";
import { againAt, inForce, rule } from "./absence";

describe("when devices are read again", () => {
  const now = Date.parse("2026-11-28T12:00:00Z");
  it.each([
    [["2026-11-28T12:05:00Z", "2026-11-28T12:04:00Z"], 241_000],
    [["2026-11-28T11:00:00Z"], 5_000],
    [["no time"], false],
    [[], false],
  ])("%j", (heardBy, after) => expect(againAt(heardBy, now, 5_000)).toBe(after));
});

describe("what a device policy says", () => {
  it.each([
    [{ whenOffline: "expected" }, "expected"],
    [{ whenOffline: { alarmAfter: "12h" } }, "alarm after 12h"],
    [{ whenOffline: 3 }, ""],
    [undefined, ""],
  ])("%j", (spec, words) => expect(rule(spec)).toBe(words));
});

describe("the rule in force on a device", () => {
  it.each([
    [{ policy: "ships", rule: "expected", state: "expected", expected: true }, "expected to be away (device policy ships: expected)"],
    [{ policy: "lab", rule: "ignored", state: "ignored", expected: true }, "its absence is ignored (device policy lab: ignored)"],
    [{ policy: "trucks", rule: "alarm after 12 h", state: "unexpected", expected: false }, "away against expectation (device policy trucks: alarm after 12 h)"],
    [{ rule: "alarm after 5 min", expected: true }, "when offline: alarm after 5 min (no device policy)"],
  ])("%j", (absence, words) => expect(inForce(absence)).toBe(words));
});
