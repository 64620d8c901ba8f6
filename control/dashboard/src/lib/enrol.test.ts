import { expect, test } from "vitest";
import { enrolLine, isLoopback, labelKeys, masked } from "./enrol";

test("the line, with and without a name", () => {
  expect(enrolLine("hf1.a.b.c", "https://10.0.0.5:8443")).toBe("HOLDFAST_TOKEN=hf1.a.b.c holdfast-agent enroll --url https://10.0.0.5:8443");
  expect(enrolLine("hf1.a.b.c", "https://[::1]:8443", "pump-7")).toBe("HOLDFAST_TOKEN=hf1.a.b.c holdfast-agent enroll --url 'https://[::1]:8443' --name pump-7");
});
test("nothing breaks out of its quotes", () => expect(enrolLine("t", "https://x/'; rm -rf /")).toContain("'https://x/'\\''; rm -rf /'"));
test("a token without its secret", () => expect(masked("hf1.0011.secret.ca")).toBe("hf1.0011.•••"));
test.each([
  ["https://127.0.0.1:8443", true],
  ["https://127.9.9.9", true],
  ["https://localhost:8443", true],
  ["https://x.localhost", true],
  ["https://[::1]:8443", true],
  ["https://[::ffff:127.0.0.1]", true],
  ["https://10.0.0.5:8443", false],
  ["https://127.example.org", false],
  ["https://localhost.example.org", false],
  ["not an address", false],
])("%s means the machine itself: %j", (url, is) => expect(isLoopback(url)).toBe(is));
test("keys of labels", () => {
  expect(labelKeys("site, role  x/y")).toEqual({ keys: ["site", "role", "x/y"] });
  expect(labelKeys("*")).toEqual({ keys: ["*"] });
  expect(labelKeys("site role=x").fault).toBe("“role=x” cannot be a label's key");
});
