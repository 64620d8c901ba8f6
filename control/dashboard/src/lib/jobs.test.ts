import { expect, test } from "vitest";
import { paused, reached, restarted } from "./jobs";

const off = (device: string, reason = "offline") => ({ device, reason });

test("what became of a restart", () => {
  expect(restarted({ restarted: ["a", "b", "c"], failed: [], notAsked: [off("d")] })).toBe("restarted on 3 devices, 1 offline: not asked");
  expect(restarted({ restarted: [], failed: [off("a", "ended with code 1")], notAsked: [off("b"), off("c"), off("d", "paused")] })).toBe("restarted on 0 devices, not restarted on 1, 2 offline: not asked, 1 paused: not asked");
});

test("what became of a pause", () => {
  expect(paused("paused", { deviceCount: 3, offlineCount: 1, everywhere: false })).toBe("paused on 3 devices; 1 is offline and follows when it is back");
  expect(paused("resumed", { deviceCount: 1, offlineCount: 0, everywhere: true })).toBe("resumed everywhere, 1 device");
  expect(paused("paused", { deviceCount: 4, offlineCount: 2, everywhere: true })).toBe("paused everywhere, 4 devices; 2 are offline and follow when they are back");
});

test("how many devices are reached: the most of one document, for one device may be in several", () => {
  expect(reached([])).toBe(0);
  expect(reached([{ changedDevices: { gainCount: 3, loseCount: 1, updateCount: 2 } }, {}, { changedDevices: { gainCount: 0, loseCount: 0, updateCount: 5 } }])).toBe(6);
});
