// Tenants and the use of their quotas: reads with their keys, and changes.
import { queryOptions } from "@tanstack/react-query";
import type { QuotaUse } from "../lib/tenants";
import { apply } from "./actions";
import { ask, client, Refusal } from "./client";
import { queries } from "./query-client";
import type { Action } from "./routes";

export interface Tenant {
  name: string;
  first: boolean;
  createdAt?: string | null;
  quotas: QuotaUse[];
  heldBack?: string | null;
}

export interface TenantDeletion {
  devices: number;
  workloads: number;
  documents: number;
  tokens: number;
  access: number;
  artifacts: number;
  streams: number;
  records: number;
}

/** Use changes all the time and nobody tells: read again while it is on the page, in milliseconds. */
const AGAIN = 30_000;

/** What is done to tenants, in the API's words. */
export const LIST = "tenant.list" as Action;
export const CREATE = "tenant.create" as Action;
export const DELETE = "tenant.delete" as Action;

// The paths are typed once the API's description in this folder has them.
const loose = client as unknown as Record<"GET" | "POST" | "DELETE", (path: string, init?: unknown) => Promise<{ data?: unknown; error?: unknown; response: Response }>>;

const changed = () => Promise.all([["tenants"], ["policies"], ["audit"]].map((queryKey) => queries.invalidateQueries({ queryKey })));

/** Empty: the control plane knows of no tenants but one. */
export const tenants = () =>
  queryOptions({
    queryKey: ["tenants"],
    refetchInterval: AGAIN,
    queryFn: async ({ signal }) => {
      try {
        return ((await ask(loose.GET("/api/v1/tenants", { signal, params: { query: { limit: 1000 } } }))) as { items: Tenant[] }).items;
      } catch (error) {
        if (error instanceof Refusal && error.status === 404) return [];
        throw error;
      }
    },
  });

/** Quotas as the tenant's document has them, and its version. */
export const written = (name: string) =>
  queryOptions({
    queryKey: ["policies", "tenants", name],
    queryFn: async ({ signal }) => {
      const { metadata, spec } = await ask(client.GET("/api/v1/policies/{kind}/{name}", { signal, params: { path: { kind: "tenants", name } } }));
      const quotas = ((spec ?? {}) as { quotas?: Record<string, string | number> }).quotas ?? {};
      return { version: metadata.resourceVersion ?? 0, quotas: Object.fromEntries(Object.entries(quotas).map(([key, value]) => [key, String(value)])) };
    },
  });

/** Makes a tenant; the answer is the only one that has its first access token. */
export async function createTenant(name: string, quotas: unknown): Promise<{ token: string }> {
  const made = (await ask(loose.POST("/api/v1/tenants", { body: { name, quotas } }))) as { token: string };
  await changed();
  return made;
}

export async function changeTenant(document: unknown): Promise<void> {
  await apply([document], false);
  await changed();
}

/** What would go with a tenant. */
export const deletionOf = (name: string) =>
  queryOptions({ queryKey: ["tenants", name, "deletion"], staleTime: 0, queryFn: async () => (await ask(loose.DELETE("/api/v1/tenants/{name}", { params: { path: { name }, query: { dryRun: true, cascade: true } } }))) as TenantDeletion });

export async function deleteTenant(name: string): Promise<void> {
  await ask(loose.DELETE("/api/v1/tenants/{name}", { params: { path: { name }, query: { cascade: true } } }));
  await changed();
}
