import { expect, test } from "vitest";
import { type QuotaUse, share, tenantOf } from "./tenants";

test.each<[QuotaUse, ReturnType<typeof share>]>([
  [{ quota: "devices", used: 12, unit: "count" }, { tone: "idle", words: "12, no limit" }],
  [{ quota: "devices", used: 12, limit: 500, unit: "count" }, { percent: 2, tone: "good", words: "12 of 500" }],
  [{ quota: "memory", used: 900 * 2 ** 20, limit: 2 ** 30, unit: "bytes" }, { percent: 88, tone: "warn", words: "900.0 MiB of 1.0 GiB" }],
  [{ quota: "cpu", used: 1000, limit: 1000, unit: "millicores" }, { percent: 100, tone: "bad", words: "1 core of 1 core" }],
  [{ quota: "cpu", used: 2500, limit: 2000, unit: "millicores" }, { percent: 100, tone: "bad", words: "2.5 cores of 2 cores" }],
  [{ quota: "devices", used: 0, limit: 0, unit: "count" }, { percent: 0, tone: "good", words: "0 of 0" }],
])("%j", (use, words) => expect(share(use)).toEqual(words));

test("a tenant's document has the quotas that are given", () => {
  expect(tenantOf(" acme ", { devices: "500", artifacts: "20Gi", cpu: " ", memory: "" }, 7)).toEqual({
    apiVersion: "holdfast/v1", kind: "Tenant", metadata: { name: "acme", resourceVersion: 7 }, spec: { quotas: { devices: 500, artifacts: "20Gi" } },
  });
});
