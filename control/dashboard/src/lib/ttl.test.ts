import { expect, test } from "vitest";
import { ttl } from "./ttl";

test("lengths of time as the command line takes them", () => {
  expect(["1s", "15m", " 24h ", "30d", "3650d"].map((text) => ttl(text).seconds)).toEqual([1, 900, 86_400, 2_592_000, 315_360_000]);
  for (const wrong of ["", "24", "h", "1w", "-1h", "1.5h", "0s", "3651d", "24h 1m"]) expect(ttl(wrong).fault, wrong).toBeDefined();
});
