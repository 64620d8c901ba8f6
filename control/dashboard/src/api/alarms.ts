// Alarms, what mutes them, and notifications: reads with their keys, and changes.
import { queryOptions } from "@tanstack/react-query";
import { ask, client } from "./client";
import { queries } from "./query-client";
import type { components } from "./schema";

type Schemas = components["schemas"];
export type Alarm = Schemas["Alarm"];
export type Silence = Schemas["Silence"];
export type NewSilence = Schemas["NewSilence"];
export type Notification = Schemas["DataPolicy"];

/** Which alarms, as the API's parameters. */
export interface AlarmFilter {
  kind?: string;
  code?: string;
  severity?: string;
  state?: string;
  device?: string;
  labelSelector?: string;
}

/** Rows of one page of alarms. */
export const ALARMS = 100;

const given = (filter: AlarmFilter) => Object.fromEntries(Object.entries(filter).filter(([, value]) => value)) as AlarmFilter;

export const alarms = (filter: AlarmFilter, limit = ALARMS) =>
  queryOptions({
    queryKey: ["alarm", "list", filter, limit],
    queryFn: ({ signal }) => ask(client.GET("/api/v1/alarms", { signal, params: { query: { ...given(filter), limit } as never } })),
  });

export const silences = () => queryOptions({ queryKey: ["alarm", "silences"], queryFn: ({ signal }) => ask(client.GET("/api/v1/silences", { signal })) });

export const notifications = () =>
  queryOptions({
    queryKey: ["notification", "list"],
    queryFn: ({ signal }) => ask(client.GET("/api/v1/policies/{kind}", { signal, params: { path: { kind: "notifications" }, query: { limit: 1000 } } })),
  });

export const notification = (name: string) =>
  queryOptions({
    queryKey: ["notification", "one", name],
    queryFn: ({ signal }) => ask(client.GET("/api/v1/policies/{kind}/{name}", { signal, params: { path: { kind: "notifications", name } } })),
  });

/** The event stream tells too; this makes the one who acted see it at once. */
const refresh = (...keys: string[]) => Promise.all(keys.map((key) => queries.invalidateQueries({ queryKey: [key] })));

export async function mute(what: "acknowledge" | "silence", body: NewSilence): Promise<Silence> {
  const made = await ask(what === "acknowledge" ? client.POST("/api/v1/alarms/acknowledge", { body }) : client.POST("/api/v1/alarms/silence", { body }));
  await refresh("alarm", "fleet", "audit");
  return made;
}

export async function unmute(id: string): Promise<void> {
  await ask(client.DELETE("/api/v1/silences/{id}", { params: { path: { id } } }));
  await refresh("alarm", "fleet", "audit");
}

export const testNotification = (name: string) => ask(client.POST("/api/v1/notifications/{name}/test", { params: { path: { name } } }));

export async function deleteNotification(name: string, resourceVersion: number): Promise<void> {
  await ask(client.DELETE("/api/v1/policies/{kind}/{name}", { params: { path: { kind: "notifications", name }, query: { resourceVersion } as never } }));
  await refresh("notification", "audit");
}
