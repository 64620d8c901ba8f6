// Every read of the API, with the key under which it is kept. `events.ts` knows these keys.
import { infiniteQueryOptions, keepPreviousData, queryOptions } from "@tanstack/react-query";
import { againAt } from "../lib/absence";
import type { Schema } from "../lib/schema";
import { ask, client } from "./client";
import { recordsAgain } from "./events";

/** Which devices, and in which order, as the API's parameters. */
export interface DeviceFilter {
  q?: string;
  labelSelector?: string;
  connection?: string;
  health?: string;
  absence?: string;
  problem?: string;
  workload?: string;
  site?: string;
  attention?: string;
  sort?: string;
}

/** Rows of one page of the device table. */
export const PAGE = 100;

/** How often data that is on the page is read again: ever less often while the reader does nothing. */
const DATA_AGAIN = () => recordsAgain();

export const fleet = () => queryOptions({ queryKey: ["fleet"], queryFn: ({ signal }) => ask(client.GET("/api/v1/fleet", { signal })) });

export const labels = () => queryOptions({ queryKey: ["labels"], queryFn: ({ signal }) => ask(client.GET("/api/v1/labels", { signal })) });

export const devices = (filter: DeviceFilter, offset = 0, limit = PAGE) =>
  queryOptions({
    queryKey: ["devices", filter, offset, limit],
    queryFn: ({ signal }) => ask(client.GET("/api/v1/devices", { signal, params: { query: { ...filter, offset, limit } as never } })),
    refetchInterval: ({ state }) => againAt((state.data?.items ?? []).flatMap(({ status }) => status.heardBy ?? []), Date.now(), 120_000),
  });

/** The devices of a filter by a label's values, with their states counted. */
export const groups = (by: string, filter: DeviceFilter) => {
  const which: DeviceFilter = { ...filter };
  // An order of devices is none of groups.
  delete which.sort;
  return queryOptions({
    queryKey: ["devices", "groups", by, which],
    queryFn: ({ signal }) => ask(client.GET("/api/v1/groups", { signal, params: { query: { ...which, by } as never } })),
  });
};

/** Counts of the last day; a new point each five minutes. */
export const trend = () =>
  queryOptions({ queryKey: ["trend"], staleTime: 60_000, refetchInterval: 300_000, queryFn: ({ signal }) => ask(client.GET("/api/v1/fleet/trend", { signal })) });

export const device = (name: string) =>
  queryOptions({
    queryKey: ["device", name],
    queryFn: ({ signal }) => ask(client.GET("/api/v1/devices/{name}", { signal, params: { path: { name } } })),
    refetchInterval: ({ state }) => againAt([state.data?.status.heardBy ?? []].flat(), Date.now(), 5_000),
  });

export const differences = (name: string) =>
  queryOptions({
    queryKey: ["device", name, "differences"],
    queryFn: ({ signal }) => ask(client.GET("/api/v1/devices/{name}/differences", { signal, params: { path: { name } } })),
  });

/** Connections that began and ended, newest first: all that are kept. */
export const connections = (name: string) =>
  queryOptions({
    queryKey: ["device", name, "connections"],
    queryFn: ({ signal }) => ask(client.GET("/api/v1/devices/{name}/history", { signal, params: { path: { name }, query: { kind: "connection" } } })),
  });

/** Rows of one page of a timeline, or of the activity. */
const EVENTS = 100;

/** What happened to a device, newest first, by pages. */
export const timeline = (name: string, filter: Readonly<Record<string, string>>) =>
  infiniteQueryOptions({
    queryKey: ["device", name, "history", filter],
    queryFn: ({ signal, pageParam }) => ask(client.GET("/api/v1/devices/{name}/history", { signal, params: { path: { name }, query: { ...filter, limit: EVENTS, ...(pageParam ? { continue: pageParam } : {}) } } })),
    initialPageParam: "",
    getNextPageParam: (last) => last.metadata?.continue ?? undefined,
    placeholderData: keepPreviousData,
  });

/** What people and devices did, newest first, by pages. */
export const activity = (filter: Readonly<Record<string, string>>) =>
  infiniteQueryOptions({
    queryKey: ["audit", "activity", filter],
    queryFn: ({ signal, pageParam }) => ask(client.GET("/api/v1/activity", { signal, params: { query: { ...filter, limit: EVENTS, ...(pageParam ? { continue: pageParam } : {}) } } })),
    initialPageParam: "",
    getNextPageParam: (last) => last.metadata?.continue ?? undefined,
    placeholderData: keepPreviousData,
  });

/** A device's streams and what it says of its link; nobody tells of records, so it is read again. */
export const deviceStreams = (name: string) =>
  queryOptions({
    queryKey: ["device", name, "streams"],
    refetchInterval: DATA_AGAIN,
    queryFn: ({ signal }) => ask(client.GET("/api/v1/devices/{name}/streams", { signal, params: { path: { name } } })),
  });

export const streams = (q: string, labelSelector: string, limit = 500) =>
  queryOptions({
    queryKey: ["streams", q, labelSelector, limit],
    queryFn: ({ signal }) => ask(client.GET("/api/v1/streams", { signal, params: { query: { limit, ...(q ? { q } : {}), ...(labelSelector ? { labelSelector } : {}) } } })),
  });

export const series = (name: string, stream: string, field: string, since: string, points = 300) =>
  queryOptions({
    queryKey: ["device", name, "series", stream, field, since, points],
    refetchInterval: DATA_AGAIN,
    queryFn: ({ signal }) => ask(client.GET("/api/v1/devices/{name}/streams/{stream}/series", { signal, params: { path: { name, stream }, query: { since, points, ...(field ? { field } : {}) } } })),
  });

export const ledger = (name: string, stream: string) =>
  queryOptions({
    queryKey: ["device", name, "ledger", stream],
    refetchInterval: DATA_AGAIN,
    queryFn: ({ signal }) => ask(client.GET("/api/v1/devices/{name}/streams/{stream}/ledger", { signal, params: { path: { name, stream } } })),
  });

/** When the records before and after a gap were taken in, in seconds since 1970. */
export const gapTime = (name: string, stream: string, from: number, to: number) =>
  queryOptions({
    queryKey: ["device", name, "gap", stream, from, to],
    staleTime: Infinity,
    queryFn: async ({ signal }) => {
      const near = async (order: "asc" | "desc", after: number) => {
        const page = await ask(client.GET("/api/v1/devices/{name}/streams/{stream}/records", { signal, params: { path: { name, stream }, query: { order, continue: after, limit: 1 } } }));
        const time = page.items[0]?.time;
        return time === undefined ? undefined : Date.parse(time) / 1000;
      };
      const [before, after] = await Promise.all([near("desc", from), near("asc", to)]);
      return { from: before ?? after, to: after ?? Date.now() / 1000 };
    },
  });

export const explanation = (kind: "device" | "workload", name: string) =>
  queryOptions({
    queryKey: [kind, name, "explanation"],
    queryFn: ({ signal }) => ask(client.GET("/api/v1/explain/{kind}/{name}", { signal, params: { path: { kind, name } } })),
  });

export const workloads = (labelSelector = "") =>
  queryOptions({
    queryKey: ["workloads", labelSelector],
    queryFn: ({ signal }) => ask(client.GET("/api/v1/workloads", { signal, params: { query: { limit: 5000, ...(labelSelector ? { labelSelector } : {}) } } })),
  });

export const workload = (name: string) =>
  queryOptions({ queryKey: ["workload", name], queryFn: ({ signal }) => ask(client.GET("/api/v1/workloads/{name}", { signal, params: { path: { name } } })) });

export const revisions = (name: string) =>
  queryOptions({
    queryKey: ["workload", name, "revisions"],
    queryFn: ({ signal }) => ask(client.GET("/api/v1/revisions", { signal, params: { query: { workload: name, limit: 500 } } })),
  });

/** Documents about data. */
export const policies = (kind: "streams" | "linkbudgets") =>
  queryOptions({ queryKey: ["policies", kind], queryFn: ({ signal }) => ask(client.GET("/api/v1/policies/{kind}", { signal, params: { path: { kind }, query: { limit: 5000 } } })) });

export const tokens = () =>
  queryOptions({ queryKey: ["tokens"], queryFn: ({ signal }) => ask(client.GET("/api/v1/tokens", { signal, params: { query: { limit: 5000 } } })) });

/** A token with the devices that it let in. */
export const token = (id: string) =>
  queryOptions({ queryKey: ["tokens", id], queryFn: ({ signal }) => ask(client.GET("/api/v1/tokens/{id}", { signal, params: { path: { id } } })) });

export const audit = (limit = 30) =>
  queryOptions({
    queryKey: ["audit", limit],
    queryFn: ({ signal }) => ask(client.GET("/api/v1/audit", { signal, params: { query: { order: "newest", category: "change", limit } } })),
  });

export const about = () => queryOptions({ queryKey: ["about"], queryFn: ({ signal }) => ask(client.GET("/api/v1/about", { signal })) });

export const access = () => queryOptions({ queryKey: ["access"], queryFn: ({ signal }) => ask(client.GET("/api/v1/access", { signal })) });

export const licences = () =>
  queryOptions({ queryKey: ["licences"], staleTime: Infinity, queryFn: ({ signal }) => ask(client.GET("/api/v1/licences", { signal })) });

export const schema = () =>
  queryOptions({ queryKey: ["schema"], staleTime: 10 * 60_000, queryFn: async ({ signal }) => (await ask(client.GET("/api/v1/schema.json", { signal }))) as Schema });
