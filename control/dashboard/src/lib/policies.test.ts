import { parse } from "yaml";
import { expect, test } from "vitest";
import { KINDS, kindOf, kindOfDocument, policyAt } from "./policies";

test("each kind has an example of itself and an address", () => {
  for (const kind of ["streams", "linkbudgets"] as const) {
    expect((parse(KINDS[kind].example) as { kind: string }).kind).toBe(KINDS[kind].kind);
    expect(kindOfDocument(KINDS[kind].kind)).toBe(kind);
    expect(kindOf(kind)).toBe(kind);
  }
  expect([kindOf("x"), kindOf(undefined), kindOfDocument("Workload")]).toEqual([undefined, undefined, undefined]);
  expect(policyAt("streams", "a/b")).toBe("/policies/streams/a%2Fb");
});
