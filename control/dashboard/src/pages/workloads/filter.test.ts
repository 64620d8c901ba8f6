import { expect, test } from "vitest";
import { counts, states, worst } from "./filter";

const workload = (name: string, state: string, failing = 0) => ({ metadata: { name }, status: { state, failing } });

test("states are read from an address, and what is none is told", () => {
  expect(states(undefined)).toEqual({ wanted: [], bad: [] });
  expect(states("running, done")).toEqual({ wanted: ["running", "done"], bad: [] });
  expect(states("failing,bogus")).toEqual({ wanted: ["failing"], bad: ["bogus"] });
});

test("the worst comes first", () => {
  const all = [workload("d", "done"), workload("b", "failing", 1), workload("u", "unknown"), workload("a", "failing", 9), workload("n", "unplaced")];
  expect(all.sort(worst).map(({ metadata }) => metadata.name)).toEqual(["a", "b", "u", "d", "n"]);
  expect(counts(all)).toEqual({ failing: 2, unknown: 1, done: 1, unplaced: 1 });
});
