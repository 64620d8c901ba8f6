// Every read of the API, with the key under which it is kept. `events.ts` knows these keys.
import { infiniteQueryOptions, keepPreviousData, queryOptions } from "@tanstack/react-query";
import { againAt } from "../lib/absence";
import type { PolicyKind } from "../lib/policies";
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
/** And lines of an hour in a table, in milliseconds. */
const LINES_AGAIN = 60_000;

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

/** Whether the audit log is whole, by its chain and by what connected devices saw of it. */
export const verification = () =>
  queryOptions({ queryKey: ["verification"], staleTime: Infinity, retry: false, queryFn: ({ signal }) => ask(client.GET("/api/v1/audit/verification", { signal, params: { query: { witness: true } } })) });

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

export const series = (name: string, stream: string, field: string, range: { since: string; until?: string | undefined; live?: boolean }, points = 300) =>
  queryOptions({
    queryKey: ["device", name, "series", stream, field, range.since, range.until, points],
    refetchInterval: range.live === false ? false : DATA_AGAIN,
    queryFn: ({ signal }) => ask(client.GET("/api/v1/devices/{name}/streams/{stream}/series", { signal, params: { path: { name, stream }, query: { since: range.since, points, ...(range.until ? { until: range.until } : {}), ...(field ? { field } : {}) } } })),
  });

/** The last hour of several streams in one answer; each is a stream's name and the path of its number. */
export const sparklines = (name: string, of: readonly (readonly [string, string])[]) =>
  queryOptions({
    queryKey: ["device", name, "sparklines", of],
    enabled: of.length > 0,
    refetchInterval: LINES_AGAIN,
    staleTime: LINES_AGAIN,
    placeholderData: (before: unknown) => before as never,
    queryFn: ({ signal }) => ask(client.GET("/api/v1/devices/{name}/sparklines", { signal, params: { path: { name }, query: { of: of.map(([stream, field]) => `${stream}\t${field}`).join("\n") } } })),
  });

/** A page of records, the newest first, of which the values hold a text. */
export const records = (name: string, stream: string, range: { since?: string; until?: string | undefined }, q: string, limit = 200) =>
  infiniteQueryOptions({
    queryKey: ["device", name, "records", stream, range.since, range.until, q, limit],
    queryFn: ({ signal, pageParam }) =>
      ask(client.GET("/api/v1/devices/{name}/streams/{stream}/records", {
        signal,
        params: { path: { name, stream }, query: { order: "desc", limit, ...(range.since ? { since: range.since } : {}), ...(range.until ? { until: range.until } : {}), ...(q ? { q } : {}), ...(pageParam ? { continue: Number(pageParam) } : {}) } },
      })),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: ({ metadata }) => metadata.continue ?? undefined,
  });

/** What was received, and the newest ranges of what is missing, or of what a policy held back. */
export const ledger = (name: string, stream: string, only: "missing" | "by-policy" = "missing", limit = 50, again: number | (() => number) = DATA_AGAIN) =>
  queryOptions({
    queryKey: ["device", name, "ledger", stream, only, limit],
    refetchInterval: again,
    queryFn: ({ signal }) => ask(client.GET("/api/v1/devices/{name}/streams/{stream}/ledger", { signal, params: { path: { name, stream }, query: { order: "desc", only, limit } } })),
  });

export const policies = (kind: PolicyKind, labelSelector = "") =>
  queryOptions({
    queryKey: ["policies", kind, labelSelector],
    queryFn: ({ signal }) => ask(client.GET("/api/v1/policies/{kind}", { signal, params: { path: { kind }, query: { limit: 1000, ...(labelSelector ? { labelSelector } : {}) } } })),
  });

export const policy = (kind: PolicyKind, name: string) =>
  queryOptions({
    queryKey: ["policy", kind, name],
    refetchInterval: DATA_AGAIN,
    queryFn: ({ signal }) => ask(client.GET("/api/v1/policies/{kind}/{name}", { signal, params: { path: { kind, name } } })),
  });

/** Where a document about data applies. */
export const policyDevices = (kind: PolicyKind, name: string, limit = 200) =>
  infiniteQueryOptions({
    queryKey: ["policy", kind, name, "devices", limit],
    refetchInterval: DATA_AGAIN,
    queryFn: ({ signal, pageParam }) => ask(client.GET("/api/v1/policies/{kind}/{name}/devices", { signal, params: { path: { kind, name }, query: { limit, ...(pageParam ? { continue: pageParam } : {}) } } })),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: ({ metadata }) => metadata?.continue ?? undefined,
  });

export const explanation = (kind: "device" | "workload" | "stream" | "linkbudget", name: string) =>
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

/** All images; a longer list says so by its `continue`. */
export const images = () =>
  queryOptions({ queryKey: ["images"], queryFn: ({ signal }) => ask(client.GET("/api/v1/images", { signal, params: { query: { limit: 5000 } } })) });

/** One image with its layers. */
export const image = (name: string, digest: string) =>
  queryOptions({
    queryKey: ["image", name, digest],
    queryFn: ({ signal }) => ask(client.GET("/api/v1/images/{reference}", { signal, params: { path: { reference: `${name}@${digest}` } } })),
  });

/** Documents about data. */
export const tokens = () =>
  queryOptions({ queryKey: ["tokens"], queryFn: ({ signal }) => ask(client.GET("/api/v1/tokens", { signal, params: { query: { limit: 5000 } } })) });

/** A token with the devices that it let in. */
export const token = (id: string) =>
  queryOptions({ queryKey: ["tokens", id], queryFn: ({ signal }) => ask(client.GET("/api/v1/tokens/{id}", { signal, params: { path: { id } } })) });

/** The newest that people did. */
export const lately = (limit: number) =>
  queryOptions({
    queryKey: ["audit", "lately", limit],
    queryFn: ({ signal }) => ask(client.GET("/api/v1/activity", { signal, params: { query: { category: "change", limit } } })),
  });

export const about = () => queryOptions({ queryKey: ["about"], queryFn: ({ signal }) => ask(client.GET("/api/v1/about", { signal })) });

export const access = () => queryOptions({ queryKey: ["access"], queryFn: ({ signal }) => ask(client.GET("/api/v1/access", { signal })) });

export const licences = () =>
  queryOptions({ queryKey: ["licences"], staleTime: Infinity, queryFn: ({ signal }) => ask(client.GET("/api/v1/licences", { signal })) });

export const schema = () =>
  queryOptions({ queryKey: ["schema"], staleTime: 10 * 60_000, queryFn: async ({ signal }) => (await ask(client.GET("/api/v1/schema.json", { signal }))) as Schema });
