import { expect, test } from "vitest";
import { follows, logAddress, parameters, rangeOf } from "./range";

test.each([
  [{}, { run: 0, tail: 500 }],
  [{ tail: "5000" }, { run: 0, tail: 5_000 }],
  [{ tail: "7", run: "x" }, { run: 0, tail: 500 }],
  [{ since: "5m", tail: "100" }, { run: 0, since: "5m" }],
  [{ since: "2026-11-28T14:03:12.250Z", until: "2026-11-28T15:00:00+01:00" }, { run: 0, since: "2026-11-28T14:03:12Z", until: "2026-11-28T14:00:00Z" }],
  [{ until: "5m", since: "soon" }, { run: 0, tail: 500 }],
  [{ run: "2" }, { run: 2 }],
  [{ run: "2", tail: "100" }, { run: 2, tail: 100 }],
  [{ run: "11" }, { run: 0, tail: 500 }],
])("%j", (address, range) => expect(rangeOf(address)).toEqual(range));

test("what belongs to the past is not followed", () => {
  expect([{ run: 0, since: "5m" }, { run: 1 }, { run: 0, until: "2026-11-28T14:00:00Z" }].map(follows)).toEqual([true, false, false]);
});
test("as parameters of the API", () => {
  expect(parameters({ run: 3, since: "1h" })).toEqual({ since: "1h", previous: "3" });
  expect(logAddress("gw 1", "a/b", { tail: "5" })).toBe("/api/v1/devices/gw%201/workloads/a%2Fb/logs?tail=5");
});
