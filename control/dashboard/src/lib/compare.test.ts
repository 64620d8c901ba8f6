import { expect, test } from "vitest";
import { compare, type Compared } from "./compare";

const device = (name: string, change: Partial<Compared["status"]> = {}, labels: Record<string, string> = {}, desired: Record<string, { revision: number }> = {}): Compared => ({
  metadata: { name, labels, createdAt: `2026-01-0${name.length}T00:00:00Z` },
  desired,
  status: { connection: "online", workloads: {}, generation: { desired: 1, applied: 1 }, agent: "0.1.0", address: `10.0.0.${name.length}`, ...change },
});

function differing(a: Compared, b: Compared): Record<string, string[]> {
  const found = compare(a, b).map(({ title, rows }) => [title, rows.filter(({ differs }) => differs).map(({ name }) => name)] as const);
  return Object.fromEntries(found.filter(([, rows]) => rows.length > 0));
}

test("two that are alike differ in nothing, though their addresses and times do", () => {
  expect(differing(device("a"), device("bb"))).toEqual({});
});

test("versions, labels and problems differ by name", () => {
  const a = device("a", { agent: "0.2.0", problems: [{ code: "disk-low", message: "x" }] }, { site: "north", role: "gateway", old: "" });
  const b = device("b", {}, { site: "south", role: "gateway" });
  expect(differing(a, b)).toEqual({ "Versions and facts": ["Agent"], Labels: ["old", "site"], Problems: ["disk-low"] });
});

test("a problem that both report is the same, however it is worded there", () => {
  const with_ = (message: string) => device("a", { problems: [{ code: "disk-low", message }] });
  expect(differing(with_("1 GB left"), with_("2 GB left"))).toEqual({});
});

test("a workload differs by its revision and its state, not by its restarts", () => {
  const runs = (revision: number, state: string, restarts = 0) => device("a", { workloads: { w: { revision, phase: "running", restarts, state } } }, {}, { w: { revision: 2 } });
  expect(differing(runs(2, "running"), runs(2, "running", 7))).toEqual({});
  expect(differing(runs(2, "running"), runs(1, "progressing"))).toEqual({ Workloads: ["w"] });
  const away = device("b", { connection: "offline", workloads: { w: { revision: 2, phase: "running", restarts: 0, state: "unknown", lastState: "running" } } }, {}, { w: { revision: 2 } });
  const row = compare(runs(2, "running"), away).flatMap(({ rows }) => rows).find(({ name }) => name === "w");
  expect(row).toEqual({ name: "w", a: { text: "revision 2, running" }, b: { text: "revision 2, unknown (running when last heard)" }, differs: true });
});

test("of the link the budgets are compared, not what was carried", () => {
  const carried = (sent: number, budget: number) => device("a", { data: { link: { since: 0, period: "day", classes: { data: { sent, received: 0, budget } } } } });
  expect(differing(carried(1, 100), carried(50, 100))).toEqual({});
  expect(differing(carried(1, 100), carried(1, 200))).toEqual({ "Link and buffer": ["data"] });
});
