// Tenants and the use of their quotas: reads with their keys, and changes.
import { queryOptions } from "@tanstack/react-query";
import { apply } from "./actions";
import { ask, client } from "./client";
import { queries } from "./query-client";
import type { components } from "./schema";

export type Tenant = components["schemas"]["Tenant"];

/** Use changes all the time and nobody tells: read again while it is on the page, in milliseconds. */
const AGAIN = 30_000;

const changed = () => Promise.all([["tenants"], ["policies"], ["audit"]].map((queryKey) => queries.invalidateQueries({ queryKey })));

export const tenants = () =>
  queryOptions({
    queryKey: ["tenants"],
    refetchInterval: AGAIN,
    queryFn: async ({ signal }) => (await ask(client.GET("/api/v1/tenants", { signal, params: { query: { limit: 1000 } } }))).items,
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
export async function createTenant(name: string, quotas: Record<string, string | number>): Promise<{ token: string }> {
  const made = await ask(client.POST("/api/v1/tenants", { body: { name, quotas } }));
  await changed();
  return made;
}

export async function changeTenant(document: unknown): Promise<void> {
  await apply([document], false);
  await changed();
}

/** What would go with a tenant. */
export const deletionOf = (name: string) =>
  queryOptions({ queryKey: ["tenants", name, "deletion"], staleTime: 0, queryFn: () => ask(client.DELETE("/api/v1/tenants/{name}", { params: { path: { name }, query: { dryRun: true, cascade: true } } })) });

export async function deleteTenant(name: string): Promise<void> {
  await ask(client.DELETE("/api/v1/tenants/{name}", { params: { path: { name }, query: { cascade: true } } }));
  await changed();
}
