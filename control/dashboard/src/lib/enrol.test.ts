import { expect, test } from "vitest";
import { enrolLine } from "./enrol";

test("the line, with and without a name", () => {
  expect(enrolLine("hf1.a.b.c", "https://10.0.0.5:8443")).toBe("HOLDFAST_TOKEN=hf1.a.b.c holdfast-agent enroll --url https://10.0.0.5:8443");
  expect(enrolLine("hf1.a.b.c", "https://[::1]:8443", "pump-7")).toBe("HOLDFAST_TOKEN=hf1.a.b.c holdfast-agent enroll --url 'https://[::1]:8443' --name pump-7");
});
test("nothing breaks out of its quotes", () => expect(enrolLine("t", "https://x/'; rm -rf /")).toContain("'https://x/'\\''; rm -rf /'"));
