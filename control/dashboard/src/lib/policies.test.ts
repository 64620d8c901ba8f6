import { parse } from "yaml";
import { expect, test } from "vitest";
import { editable, toYaml } from "./document";
import { KINDS, kindOf, kindOfDocument, policyAt, tabOf } from "./policies";

test("each kind has an example of itself and an address", () => {
  for (const kind of ["streams", "linkbudgets", "secrets", "configs"] as const) {
    expect((parse(KINDS[kind].example) as { kind: string }).kind).toBe(KINDS[kind].kind);
    expect(kindOfDocument(KINDS[kind].kind)).toBe(kind);
    expect(kindOf(kind)).toBe(kind);
  }
  expect([kindOf("x"), kindOf(undefined), kindOfDocument("Workload")]).toEqual([undefined, undefined, undefined]);
  expect(policyAt("streams", "a/b")).toBe("/policies/streams/a%2Fb");
});

test("a secret that is edited keeps what is not typed anew", () => {
  const stored = { sha256: "0123abcd", length: 5, changedAt: "2026-11-30T04:00:00Z" };
  const read = { apiVersion: "holdfast/v1", kind: "Secret", metadata: { name: "db" }, spec: { data: { password: stored, user: stored } } };
  const edited = parse(toYaml(editable(read))) as typeof read;
  expect(edited.spec.data.password).toEqual(stored);
  expect(tabOf("secrets")).toBe("secrets");
});
