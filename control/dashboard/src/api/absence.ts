// Device policies: documents that say which devices may be away. Their keys begin with "devices",
// for who of them is away changes with every device that comes or goes.
import { queryOptions } from "@tanstack/react-query";
import { ask, client } from "./client";
import { queries } from "./query-client";
import type { components } from "./schema";

export type DevicePolicy = components["schemas"]["DataPolicy"];
export type PolicyAbsence = components["schemas"]["PolicyAbsence"];

const kind = "devicepolicies";

export const devicePolicies = () =>
  queryOptions({
    queryKey: ["devices", "policies"],
    queryFn: ({ signal }) => ask(client.GET("/api/v1/policies/{kind}", { signal, params: { path: { kind }, query: { limit: 500 } as never } })),
  });

export const devicePolicy = (name: string) =>
  queryOptions({
    queryKey: ["devices", "policies", name],
    queryFn: ({ signal }) => ask(client.GET("/api/v1/policies/{kind}/{name}", { signal, params: { path: { kind, name } } })),
  });

/** After a change of one: everything that counts devices or says how they are is another. */
export const changedPolicies = () => Promise.all([["devices"], ["device"], ["fleet"], ["workloads"], ["workload"]].map((queryKey) => queries.invalidateQueries({ queryKey })));

export async function deleteDevicePolicy(name: string, resourceVersion: number): Promise<void> {
  await ask(client.DELETE("/api/v1/policies/{kind}/{name}", { params: { path: { kind, name }, query: { resourceVersion } as never } }));
  queries.removeQueries({ queryKey: ["devices", "policies", name] });
  await changedPolicies();
}
