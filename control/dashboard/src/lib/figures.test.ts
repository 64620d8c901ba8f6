import { expect, test } from "vitest";
import { figures } from "./figures";

test("a record of the device's metrics becomes figures", () => {
  expect(figures({ cpu: 12.34, load: 0.5, memory: { total: 2048, used: 1024 }, disk: { total: 4 * 1024 ** 3, used: 1024 ** 3, free: 1 }, network: { received: 2048, sent: 10 }, temperature: 41 })).toEqual([
    { name: "Processor", value: "12.3 % busy", percent: 12.34 },
    { name: "Load", value: "0.50" },
    { name: "Memory", value: "1.0 KiB of 2.0 KiB", percent: 50 },
    { name: "Disk", value: "1.0 GiB of 4.0 GiB", percent: 25 },
    { name: "Network", value: "2.0 KiB received, 10 bytes sent since the record before" },
    { name: "Temperature", value: "41.0 °C" },
  ]);
});

test("other records are none", () => {
  for (const value of [undefined, 3, "x", [], {}, { load: 3 }, { memory: 5, cpu: "x" }]) expect(figures(value)).toBeUndefined();
});
