import { expect, test } from "vitest";
import { check, forKind, keys, values, type Schema } from "./schema";

const schema: Schema = {
  $defs: {
    Word: { oneOf: [{ const: "oldest" }, { const: "newest" }] },
    Policy: { oneOf: [{ const: "always", description: "Whenever." }, { const: "never" }] },
    Run: { type: "object", additionalProperties: false, oneOf: [{ required: ["path"] }, { required: ["artifact"] }], properties: { path: { type: "string", pattern: "^/" }, artifact: { type: "string" } } },
  },
  type: "object",
  additionalProperties: false,
  required: ["run"],
  properties: {
    run: { $ref: "#/$defs/Run", description: "How it runs." },
    policy: { $ref: "#/$defs/Policy" },
    env: { type: "object", additionalProperties: { type: "string" } },
    cpu: { anyOf: [{ type: "string", pattern: "^[0-9]+m$" }, { type: "number" }] },
    overflow: { anyOf: [{ $ref: "#/$defs/Word" }, { type: "object" }] },
    list: { type: "array", items: { type: "integer", minimum: 1 } },
  },
};

test("keys and values for completion", () => {
  expect(keys(schema, []).find((key) => key.label === "run")).toEqual({ label: "run", detail: "object, required", info: "How it runs." });
  expect(keys(schema, ["run"]).map((key) => key.label)).toEqual(["path", "artifact"]);
  expect(values(schema, ["policy"]).map((value) => value.label)).toEqual(["always", "never"]);
  expect(values(schema, ["policy"]).map((value) => value.info)).toEqual(["Whenever.", ""]);
  expect(values(schema, ["overflow"]).map((value) => value.label)).toEqual(["oldest", "newest"]);
});

test.each([
  [{ run: { path: "/x" } }, []],
  [{}, ["run"]],
  [{ run: { path: "x" } }, ["run.path"]],
  [{ run: {} }, ["run"]],
  [{ run: { path: "/x", artifact: "y" } }, ["run"]],
  [{ run: { path: "/x" }, policy: "some", env: { A: 1 }, cpu: "12Q", list: [0], other: 1 }, ["policy", "env.A", "cpu", "list[0]", "other"]],
  ["text", ["document"]],
])("%j", (value, paths) => expect(check(schema, value).map((fault) => fault.path)).toEqual(paths));

const document = (kind: string, spec: Schema): Schema => ({ type: "object", additionalProperties: false, required: ["kind", "spec"], properties: { kind: { type: "string", enum: [kind] }, name: { type: "string" }, spec } });
const several: Schema = {
  $defs: { Whole: { type: "integer" }, Second: document("Second", { $ref: "#/$defs/Whole" }) },
  anyOf: [document("First", { type: "object", additionalProperties: false, properties: { of: { type: "string" } } }), { $ref: "#/$defs/Second" }],
};

test("of several kinds of document the one that is said holds", () => {
  expect(keys(forKind(several, "First"), ["spec"]).map((key) => key.label)).toEqual(["of"]);
  expect(keys(forKind(several, undefined), []).map((key) => key.label)).toEqual(["kind", "name", "spec"]);
  expect(values(forKind(several, undefined), ["kind"]).map((value) => value.label)).toEqual(["First", "Second"]);
  expect(keys(forKind(several, undefined), ["spec"])).toEqual([]);
});

test.each([
  [{ kind: "First", spec: { of: "x" } }, []],
  [{ kind: "First", spec: { other: 1 } }, ["spec.other"]],
  [{ kind: "Second", spec: 2 }, []],
  [{ kind: "Second", spec: "x", other: 1 }, ["spec", "other"]],
  [{ kind: "Third", spec: {} }, ["kind"]],
  [{ spec: {} }, ["kind"]],
  [null, ["document"]],
])("of several kinds: %j", (value, paths) => expect(check(several, value).map((fault) => fault.path)).toEqual(paths));
