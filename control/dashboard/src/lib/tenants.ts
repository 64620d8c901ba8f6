// Tenants in words: what of each quota is used.
import type { components } from "../api/schema";
import { bytes } from "./words";

export type QuotaUse = components["schemas"]["QuotaUse"];

/** The quotas, as a tenant's document calls them, with words and an example of how each is written. */
export const QUOTAS = [
  { quota: "devices", label: "Devices", example: "500" },
  { quota: "artifacts", label: "Artifacts", example: "20Gi" },
  { quota: "dataPerDay", label: "Data a day", example: "5Gi" },
  { quota: "requestsPerSecond", label: "Requests a second", example: "50" },
  { quota: "cpu", label: "Placed processors", example: "200" },
  { quota: "memory", label: "Placed memory", example: "64Gi" },
] as const;

export const quotaOf = (quota: string): string => QUOTAS.find((one) => one.quota === quota)?.label ?? quota;

/** `1.4 MiB`, `2.5 cores`, `12`. */
export function amount(number: number, unit: QuotaUse["unit"]): string {
  if (unit === "bytes") return bytes(number);
  if (unit === "millicores") return `${(number / 1000).toLocaleString("en", { maximumFractionDigits: 3 })} ${number === 1000 ? "core" : "cores"}`;
  return number.toLocaleString("en");
}

/** From this share on a quota is near its end. */
const NEAR = 0.8;

export interface Share {
  /** 0 to 100; absent: there is no limit. */
  percent?: number;
  tone: "good" | "warn" | "bad" | "idle";
  words: string;
}

/** How much of a quota is used. */
export function share({ used, limit, unit }: QuotaUse): Share {
  if (limit === undefined || limit === null) return { tone: "idle", words: `${amount(used, unit)}, no limit` };
  const part = limit === 0 ? (used > 0 ? 1 : 0) : used / limit;
  return { percent: Math.min(100, Math.round(part * 100)), tone: part >= 1 ? "bad" : part >= NEAR ? "warn" : "good", words: `${amount(used, unit)} of ${amount(limit, unit)}` };
}

/** The document of a tenant; quotas that are empty have no limit. Numbers stay numbers. */
export function tenantOf(name: string, quotas: Readonly<Record<string, string>>, version?: number) {
  const given = QUOTAS.map(({ quota }) => [quota, (quotas[quota] ?? "").trim()] as const).filter(([, text]) => text !== "");
  return {
    apiVersion: "holdfast/v1",
    kind: "Tenant",
    metadata: { name: name.trim(), ...(version === undefined ? {} : { resourceVersion: version }) },
    spec: { quotas: Object.fromEntries(given.map(([quota, text]) => [quota, /^\d+$/.test(text) ? Number(text) : text])) },
  };
}
