import { expect, test } from "vitest";
import { place, starts } from "./segments";

test("without groups a row is a device", () => {
  const all = starts([{ devices: 3, open: true }], false);
  expect(all).toEqual([0, 3]);
  expect([0, 2].map((row) => place(all, false, row))).toEqual([{ segment: 0, heading: false, at: 0 }, { segment: 0, heading: false, at: 2 }]);
});

test("each group has its heading, and its devices while it is open", () => {
  const all = starts([{ devices: 2, open: true }, { devices: 5, open: false }, { devices: 1, open: true }], true);
  expect(all).toEqual([0, 3, 4, 6]);
  expect([0, 1, 2, 3, 4, 5].map((row) => place(all, true, row))).toEqual([
    { segment: 0, heading: true },
    { segment: 0, heading: false, at: 0 },
    { segment: 0, heading: false, at: 1 },
    { segment: 1, heading: true },
    { segment: 2, heading: true },
    { segment: 2, heading: false, at: 0 },
  ]);
});
