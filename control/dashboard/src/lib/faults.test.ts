import { expect, test } from "vitest";
import { locate, pathOf, read, steps } from "./faults";

const text = `apiVersion: holdfast/v1
kind: Workload
metadata: { name: relay }
spec:
  devices:
    matchExpressions:
      - { key: site, operator: Near, values: [a] }
  run:
    process:
      path: /usr/bin/relay
      args: [--listen, 7000]
  config:
    etc/relay.conf: 5
  restrt: { policy: always }
  resources:
    memory: 12Q
`;

const marked = (path: string, ofKey = false) => {
  const [mark] = locate(read(text).documents, [{ path, message: "wrong", ofKey }]);
  return text.slice(mark?.from, mark?.to);
};

test.each([
  ["spec.resources.memory", "12Q"],
  ["spec.run.process.args[1]", "7000"],
  ['spec.config["etc/relay.conf"]', "5"],
  ["spec.devices.matchExpressions[0].operator", "Near"],
  ["spec.devices", "devices"],
  ["document", "apiVersion"],
])("%s is at %j", (path, there) => expect(marked(path)).toBe(there));

test("an unknown field is marked by its key, a missing one by what should hold it", () => {
  expect(marked("spec.restrt", true)).toBe("restrt");
  expect(marked("spec.run.process.artifact")).toBe("process");
  expect(marked("spec.resources.memory", true)).toBe("memory");
});

test("the second of two documents", () => {
  const two = `${text}---\nkind: Workload\nspec:\n  x: 1\n`;
  const [mark] = locate(read(two).documents, [{ path: "documents[1] (Workload/?): spec.x", message: "unknown field", ofKey: true }]);
  expect(mark?.from).toBe(two.lastIndexOf("x: 1"));
});

test("paths are read and written alike", () => {
  for (const path of ["spec.a[0].b", 'spec.config["a/b \\" c"]', "kind"]) expect(pathOf(steps(path).steps)).toBe(path);
});

test("a text that is no YAML has its place too", () => {
  const { syntax, values } = read("a: [1, 2\nb: }");
  expect(syntax.length).toBeGreaterThan(0);
  expect(values).toEqual([]);
});
