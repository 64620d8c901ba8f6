import { expect, test } from "vitest";
import { cursor, kindAt } from "./cursor";

/** The text with `|` where the cursor is. */
const at = (marked: string) => cursor(marked.replace("|", ""), marked.indexOf("|"));

test.each([
  ["sp|", [], "key"],
  ["spec:\n  re|", ["spec"], "key"],
  ["spec:\n  restart:\n    policy: al|", ["spec", "restart", "policy"], "value"],
  ["spec:\n  devices:\n    matchExpressions:\n      - key: a\n        op|", ["spec", "devices", "matchExpressions", 0], "key"],
  ["spec:\n  devices:\n    matchExpressions:\n    - key: a\n      op|", ["spec", "devices", "matchExpressions", 0], "key"],
  ["spec:\n  devices:\n    matchExpressions:\n      - key: a\n        operator: I|", ["spec", "devices", "matchExpressions", 0, "operator"], "value"],
  ["spec:\n  devices:\n    matchExpressions:\n      - k|", ["spec", "devices", "matchExpressions", 0], "key"],
  ["spec:\n  run:\n    process:\n      path: /x\n  h|", ["spec"], "key"],
  ["a: 1\n---\nspec:\n  |", ["spec"], "key"],
] as const)("%j", (text, path, kind) => {
  const place = at(text);
  expect(place?.path).toEqual(path);
  expect(place?.kind).toBe(kind);
});

test("keys that are there already are known", () => {
  expect(at("spec:\n  run:\n    process: {}\n  |\n  stop:\n    grace: 1s\n")?.siblings).toEqual(["run", "stop"]);
});
test("nothing is offered within a comment or a flow", () => {
  expect(at("# sp|")).toBeUndefined();
  expect(at("a: { b|")).toBeUndefined();
});

test.each([
  ["kind: Workload\nspec:\n  |", "Workload"],
  ["|", undefined],
  ["kind: Workload\n---\nspec:\n  |\nkind: \"Stream\"\n---\nkind: LinkBudget", "Stream"],
  ["kind: Workload\n---\n|", undefined],
  ["spec:\n  kind: Workload\n|", undefined],
])("kind of %j", (marked, kind) => expect(kindAt(marked.replace("|", ""), marked.indexOf("|"))).toBe(kind));
