// What is done with a workload besides applying it: going back, restarts, pauses.
import { ask, client } from "./client";
import { jsonLines } from "./lines";
import { queries } from "./query-client";
import type { components } from "./schema";

type Schemas = components["schemas"];
export type RestartProgress = Schemas["RestartProgress"];
export type RestartResult = Schemas["RestartResult"];
export type PauseResult = Schemas["PauseResult"];

const KEYS = ["workload", "workloads", "device", "devices", "fleet", "audit"];
const refresh = () => Promise.all(KEYS.map((key) => queries.invalidateQueries({ queryKey: [key] })));
const path = (name: string) => ({ path: { name } });
/** One device, or every one that should run it. */
const on = (device: string | undefined): Schemas["OnDevices"] => (device === undefined ? {} : { devices: [device] });

export async function rollback(name: string, to: number, dryRun: boolean, resourceVersion?: number) {
  const body = { to, ...(resourceVersion === undefined ? {} : { resourceVersion }) };
  const answer = await ask(client.POST("/api/v1/workloads/{name}/rollback", { params: { ...path(name), query: { dryRun } as never }, body }));
  if (!dryRun) await refresh();
  return answer;
}

export async function pause(name: string, device: string | undefined, paused: boolean): Promise<PauseResult> {
  const options = { params: path(name), body: on(device) };
  const answer = await ask(paused ? client.POST("/api/v1/workloads/{name}/pause", options) : client.POST("/api/v1/workloads/{name}/resume", options));
  await refresh();
  return answer;
}

/** Restarts it on the devices that are there, and tells how far that is. Aborted: no further device is asked. */
export async function restart(name: string, device: string | undefined, signal: AbortSignal, told: (progress: RestartProgress) => void): Promise<RestartResult> {
  const result = await jsonLines<RestartProgress, RestartResult>(`/api/v1/workloads/${encodeURIComponent(name)}/restart`, on(device), signal, told);
  await refresh();
  return result;
}
