import { expect, test } from "vitest";
import { parse } from "yaml";
import { editable, toYaml } from "./document";
import EXAMPLE from "./example.yaml?raw";

test("the example of the editor is as one would write it", () => {
  expect(toYaml(editable(parse(EXAMPLE) as Parameters<typeof editable>[0]))).toBe(EXAMPLE);
});

test("keys in the order in which one thinks, the operator's own by name, long texts as blocks", () => {
  const yaml = toYaml({ stop: { signal: "SIGTERM" }, config: { "a.conf": "x = 1\ny = 2\n" }, run: { process: { env: { path: "x", A: "1" }, args: ["1"], path: "/bin/sh" } } });
  expect(yaml).toBe(`run:
  process:
    path: /bin/sh
    args:
      - "1"
    env:
      A: "1"
      path: x
config:
  a.conf: |
    x = 1
    y = 2
stop:
  signal: SIGTERM
`);
});

test("labels are part of what one edits only when there are some", () => {
  const of = { apiVersion: "holdfast/v1", kind: "Workload", spec: {} };
  expect(editable({ ...of, metadata: { name: "a", labels: {} } }).metadata).toEqual({ name: "a" });
  expect(editable({ ...of, metadata: { name: "a", labels: { app: "x" } } }).metadata).toEqual({ name: "a", labels: { app: "x" } });
});
