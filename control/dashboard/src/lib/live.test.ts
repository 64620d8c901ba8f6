import { expect, test } from "vitest";
import { ago, link } from "./live";

test("a link is live between heartbeats, late after a missed one, silent within 30 s", () => {
  expect([0, 12_000, 14_900].map((now) => link(0, now))).toEqual(["live", "live", "live"]);
  expect([15_100, 25_000].map((now) => link(0, now))).toEqual(["late", "late"]);
  expect([26_000, 29_000, 1e9].map((now) => link(0, now))).toEqual(["silent", "silent", "silent"]);
});

test("how long ago is said in seconds, then in minutes, and never below nothing", () => {
  expect([-500, 400, 3_000, 119_000, 150_000].map((now) => ago(0, now))).toEqual(["0 s", "0 s", "3 s", "119 s", "2 min"]);
});
