import { expect, test } from "vitest";
import { editable, toYaml } from "./document";

test("a workload as one would write it", () => {
  const yaml = toYaml(editable({
    apiVersion: "holdfast/v1", kind: "Workload", metadata: { name: "hello", labels: {} },
    spec: { stop: { signal: "SIGTERM" }, run: { process: { args: ["-c", "1"], path: "/bin/sh", env: { path: "x", A: "1" } } }, devices: { matchLabels: { role: "gateway" } }, config: { "a.conf": "x = 1\ny = 2\n" } },
  }));
  expect(yaml).toBe(`apiVersion: holdfast/v1
kind: Workload
metadata:
  name: hello
spec:
  devices:
    matchLabels:
      role: gateway
  run:
    process:
      path: /bin/sh
      args:
        - -c
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
