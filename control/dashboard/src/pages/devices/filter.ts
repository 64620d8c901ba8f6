// The table's state in the address, and what it asks of the API.
import type { DeviceFilter } from "../../api/queries";
import { parse } from "../../lib/selector";
import type { Search } from "../../ui/useSearch";

/** Columns that may be chosen away, in their order; `name` always stands. */
export const COLUMNS = {
  connection: { title: "Connection", sort: "connection", width: "120px" },
  heardAt: { title: "Heard", sort: "heardAt", width: "110px" },
  workloads: { title: "Workloads", sort: "workloads", width: "110px" },
  problems: { title: "Problems", sort: "problems", width: "minmax(120px, 1fr)" },
  labels: { title: "Labels", sort: undefined, width: "minmax(160px, 2fr)" },
  certificate: { title: "Certificate ends", sort: "certificate", width: "140px" },
  generation: { title: "Generation", sort: undefined, width: "110px" },
  address: { title: "Address", sort: undefined, width: "150px" },
  agent: { title: "Agent", sort: undefined, width: "110px" },
  createdAt: { title: "Enrolled", sort: "createdAt", width: "110px" },
} as const;

export type Column = keyof typeof COLUMNS;
export const DEFAULT: readonly Column[] = ["connection", "heardAt", "workloads", "problems", "labels"];

export function columns(search: Search): Column[] {
  if (search.columns === undefined) return [...DEFAULT];
  const asked = search.columns.split(".");
  return (Object.keys(COLUMNS) as Column[]).filter((column) => asked.includes(column));
}

/** Filters that the address holds by the API's own names. */
const PLAIN = ["q", "connection", "problem", "workload", "site", "attention", "sort"] as const;

export function filter(search: Search): { filter: DeviceFilter; fault?: string } {
  const asked: DeviceFilter = {};
  for (const name of PLAIN) {
    const value = search[name];
    if (value) asked[name] = value;
  }
  const { fault } = parse(search.labels ?? "");
  if (search.labels && fault === undefined) asked.labelSelector = search.labels;
  return fault === undefined ? { filter: asked } : { filter: asked, fault };
}

/** The filters as words that can be taken away one by one. */
export function chips(search: Search): { key: string; words: string }[] {
  const words: Record<string, (value: string) => string> = {
    connection: (value) => value.split(",").join(" or "),
    problem: (value) => `problem ${value}`,
    workload: (value) => `runs ${value}`,
    site: (value) => `site ${value}`,
    attention: (value) => ({ lost: "offline for over 5 minutes", certificate: "certificate near its end", failing: "a workload fails" })[value] ?? value,
  };
  // One state alone stands in its own field already.
  const told = (key: string) => key === "connection" && !search.connection?.includes(",");
  return Object.entries(words).flatMap(([key, say]) => (search[key] && !told(key) ? [{ key, words: say(search[key]) }] : []));
}
