import { expect, test } from "vitest";
import { tally, troubles, worst, worstOn } from "./workloads";

const desired = { a: {}, b: {}, c: {} };
const device = (connection: string, workloads: Record<string, { state?: string; lastState?: string }>, problems: { code: string }[] = []) => ({ desired, status: { connection, workloads, problems } });

test("what runs and what is done is good; what has said nothing is not", () => {
  expect(tally(device("online", { a: { state: "running" }, b: { state: "done" } }))).toEqual({ all: 3, good: 2, known: true, lastGood: 0, failing: [] });
  expect(tally(device("online", { a: { state: "failing" } })).failing).toEqual(["a"]);
});

test("of an offline device nothing is known to run", () => {
  const away = device("offline", { a: { state: "unknown", lastState: "running" }, b: { state: "unknown", lastState: "failing" } });
  expect(tally(away)).toMatchObject({ good: 0, known: false, lastGood: 1 });
  expect(troubles(away)).toEqual(["b was failing"]);
});

test("of a device that is connected and silent nothing is known to run", () => {
  const silent = device("online", { a: { state: "unknown", lastState: "running" }, b: { state: "unknown", lastState: "done" } }, [{ code: "not-answering" }]);
  expect(tally(silent)).toMatchObject({ good: 0, known: false, lastGood: 2, failing: [] });
  expect(troubles(silent)).toEqual(["not-answering"]);
});

test("troubles name what fails before problems, each problem once", () => {
  expect(troubles(device("online", { a: { state: "failing" }, gone: { state: "failing" } }, [{ code: "disk-low" }, { code: "disk-low" }]))).toEqual(["a failing", "disk-low"]);
  expect(troubles(device("revoked", { a: { state: "failing" } }, [{ code: "disk-low" }]))).toEqual([]);
});

test("the worst comes first, then names", () => {
  const all = [{ name: "z", state: "unknown", lastState: "failing" }, { name: "d", state: "done" }, { name: "r", state: "running" }, { name: "f2", state: "failing" }, { name: "x" }, { name: "u", state: "unknown" }, { name: "f1", state: "failing" }];
  expect(all.sort(worst).map(({ name }) => name)).toEqual(["f1", "f2", "z", "u", "r", "d", "x"]);
});

test("of a workload's devices the worst by that workload come first, whatever else fails there", () => {
  const on = (name: string, connection: string, workloads: Record<string, { state: string }>) => ({ ...device(connection, workloads), metadata: { name } });
  const all = [on("x", "online", { a: { state: "running" }, b: { state: "failing" } }), on("silent", "offline", {}), on("y", "online", { a: { state: "failing" } }), on("new", "online", {})];
  expect(worstOn(all, "a").map(({ metadata }) => metadata.name)).toEqual(["y", "new", "silent", "x"]);
});
