import { expect, test } from "vitest";
import { use } from "./budget";

const MIDNIGHT = Date.UTC(2026, 10, 24) / 1000;

test("a day's use goes on as it did", () => {
  const found = use({ since: MIDNIGHT, budget: 1000, classes: { data: { sent: 90, received: 10, budget: 600 }, control: { sent: 10, received: 10 } } }, MIDNIGHT + 6 * 3600);
  expect(found.period).toBe("day");
  expect(found.ends).toBe(MIDNIGHT + 86_400);
  expect(found.rows).toEqual([
    { name: "control", used: 20, budget: undefined, forecast: 80 },
    { name: "data", used: 100, budget: 600, forecast: 400 },
  ]);
  expect(found.total).toEqual({ name: "all", used: 120, budget: 1000, forecast: 480 });
});

test("the period is what the device says", () => {
  const first = Date.UTC(2026, 10, 1) / 1000;
  const young = use({ since: first, period: "month", classes: { data: { sent: 100, received: 0 } } }, first + 43_200);
  expect(young.period).toBe("month");
  expect(young.ends).toBe(Date.UTC(2026, 11, 1) / 1000);
  expect(young.total.forecast).toBe(6000);
  // A device that has been away for two days has not begun another.
  const old = use({ since: MIDNIGHT, period: "day" }, MIDNIGHT + 2 * 86_400);
  expect([old.period, old.ends]).toEqual(["day", MIDNIGHT + 86_400]);
});

test("of an agent that does not say it, what has lasted longer than a day is a month", () => {
  const found = use({ since: Date.UTC(2026, 10, 1) / 1000, classes: { data: { sent: 100, received: 0 } } }, Date.UTC(2026, 10, 11) / 1000);
  expect(found.period).toBe("month");
  expect(found.ends).toBe(Date.UTC(2026, 11, 1) / 1000);
  expect(found.total.forecast).toBe(300);
});

test("the first minutes are not taken for the rest", () => {
  const found = use({ since: MIDNIGHT, classes: { control: { sent: 300, received: 0 } } }, MIDNIGHT + 1);
  expect(found.total.forecast).toBe(300 + 86_399);
});
