import { expect, test } from "vitest";
import { bindingOf, EMPTY, formOf, program, replace, selectorOf, selectorWords } from "./people";

test.each([
  ["", ""],
  ["holdfast/0.9.1", "holdfast 0.9.1"],
  ["curl/8.5.0", "curl 8.5.0"],
  ["Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/142.0.0.0 Safari/537.36", "Chrome on Linux"],
  ["Mozilla/5.0 (Windows NT 10.0; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Windows"],
  ["Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605 Version/18.0 Mobile/15E148 Safari/604.1", "Safari on iOS"],
  ["Mozilla/5.0", "Browser"],
  ["x".repeat(200), "x".repeat(40)],
])("the program %j is %j", (agent, words) => expect(program(agent)).toBe(words));

test("which access tokens are to be replaced", () => {
  const token = (id: string, name: string, expiresAt?: string) => replace({ metadata: { name: id }, name, ...(expiresAt ? { expiresAt } : {}) });
  expect(token("admin", "made at the first start")).toMatch(/first start/);
  expect(token("a1", "")).toMatch(/before tokens had roles/);
  expect(token("a1", "ci")).toMatch(/does not end/);
  expect(token("a1", "ci", "2027-01-01T00:00:00Z")).toBeUndefined();
});

test.each(["site=kiel", "site=kiel,role in (pump,fan)", "!old", "site=kiel,line", "role notin (pump)"])("the selector %j comes back as it is", (text) => {
  expect(selectorWords(selectorOf(text))).toBe(text);
});

test.each(["", "a b", "site=kiel,", "in (a)"])("%j is no selector", (text) => expect(selectorOf(text)).toBeUndefined());

test("a form becomes a document, and the document the form", () => {
  const form = { name: "kiel", role: "operator", subjects: "anna, bob@corp anna", everywhere: false, selector: "site=kiel" };
  const document = bindingOf(form, 7);
  expect(document).toEqual({ apiVersion: "holdfast/v1", kind: "RoleBinding", metadata: { name: "kiel", resourceVersion: 7 }, spec: { role: "operator", subjects: ["anna", "bob@corp"], devices: { matchLabels: { site: "kiel" } } } });
  expect(formOf(document!)).toEqual({ ...form, subjects: "anna, bob@corp" });
  expect(bindingOf(EMPTY)).toBeUndefined();
  expect(bindingOf({ ...form, selector: "" })).toBeUndefined();
  expect(bindingOf({ ...form, everywhere: true })?.spec.devices).toBe("all");
});
