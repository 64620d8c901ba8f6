// Every change that the pages make, each one request of the public API.
import { ask, client } from "./client";
import { queries } from "./query-client";
import type { PolicyKind } from "../lib/policies";
import type { components } from "./schema";

type NewToken = components["schemas"]["NewToken"];
type NewAccess = components["schemas"]["NewAccess"];

/** The event stream tells too; this makes the one who acted see it at once. */
const refresh = (...keys: string[][]) => Promise.all(keys.map((queryKey) => queries.invalidateQueries({ queryKey })));
const path = (name: string) => ({ params: { path: { name } } });

export async function setLabels(name: string, labels: Record<string, string | null>, resourceVersion?: number) {
  return ask(client.PATCH("/api/v1/devices/{name}", { ...path(name), body: { labels: labels as Record<string, string>, ...(resourceVersion === undefined ? {} : { resourceVersion }) } }));
}
/** What is done to one device, without a look at what became of it: for many at once. */
export const bare = {
  approve: (name: string) => ask(client.POST("/api/v1/devices/{name}/approve", path(name))),
  revoke: (name: string) => ask(client.POST("/api/v1/devices/{name}/revoke", path(name))),
  forget: (name: string) => ask(client.DELETE("/api/v1/devices/{name}", path(name))),
};
export const approve = async (name: string) => {
  await bare.approve(name);
  await refresh(["devices"], ["device", name], ["fleet"]);
};
export const revoke = async (name: string) => {
  await bare.revoke(name);
  await refresh(["devices"], ["device", name], ["fleet"]);
};
export const forget = async (name: string) => {
  await bare.forget(name);
  queries.removeQueries({ queryKey: ["device", name] });
  await refresh(["devices"], ["fleet"]);
};
export const apply = (documents: unknown[], dryRun: boolean) =>
  ask(client.POST("/api/v1/apply", { params: { query: { dryRun } as never }, body: { documents: documents as never } }));
export const deleteWorkload = async (name: string, resourceVersion: number) => {
  await ask(client.DELETE("/api/v1/workloads/{name}", { params: { path: { name }, query: { resourceVersion } as never } }));
  queries.removeQueries({ queryKey: ["workload", name] });
  await refresh(["workloads"], ["fleet"]);
};
export const deletePolicy = async (kind: PolicyKind, name: string, resourceVersion: number) => {
  await ask(client.DELETE("/api/v1/policies/{kind}/{name}", { params: { path: { kind, name }, query: { resourceVersion } as never } }));
  queries.removeQueries({ queryKey: ["policy", kind, name] });
  await refresh(["policies"], ["policy"]);
};
export const fetchRecords = (name: string, stream: string, body: components["schemas"]["NewFetch"]) =>
  ask(client.POST("/api/v1/devices/{name}/streams/{stream}/fetch", { params: { path: { name, stream } }, body }));
export const createToken = async (body: NewToken) => {
  const made = await ask(client.POST("/api/v1/tokens", { body }));
  await refresh(["tokens"]);
  return made;
};
export const revokeToken = async (id: string) => {
  await ask(client.DELETE("/api/v1/tokens/{id}", { params: { path: { id } } }));
  await refresh(["tokens"]);
};
export const createAccess = async (body: NewAccess) => {
  const made = await ask(client.POST("/api/v1/access", { body }));
  await refresh(["access"]);
  return made;
};
/** A new secret for a token; the former one counts for a while beside it. */
export const rotateAccess = async (id: string, body: components["schemas"]["RotateAccess"]) => {
  const made = await ask(client.POST("/api/v1/access/{id}/rotate", { params: { path: { id } }, body }));
  await refresh(["access"], ["sessions"]);
  return made;
};
export const revokeAccess = async (id: string) => {
  await ask(client.DELETE("/api/v1/access/{id}", { params: { path: { id } } }));
  await refresh(["access"]);
};
