import { expect, test } from "vitest";
import { bytes } from "./words";

test("sizes in the units of the command line", () => {
  expect([0, 1, 1023, 1024, 1_500_000, 2 ** 31, 2 ** 50].map(bytes)).toEqual(["0 bytes", "1 byte", "1,023 bytes", "1.0 KiB", "1.4 MiB", "2.0 GiB", "1024.0 TiB"]);
});
