// The table's state in the address, and what it asks of the API. An address may be old or mistyped:
// what of it means nothing is left out and told, so that a table never claims a filter it has not.
import type { DeviceFilter } from "../../api/queries";
import { parse } from "../../lib/selector";
import type { Search } from "../../ui/useSearch";

/** Columns that may be chosen away, in their order; `name` always stands. */
export const COLUMNS = {
  health: { title: "State", sort: "health", width: "minmax(150px, 0.7fr)" },
  connection: { title: "Connection", sort: "connection", width: "minmax(150px, 0.7fr)" },
  heardAt: { title: "Heard", sort: "heardAt", width: "105px" },
  workloads: { title: "Workloads", sort: "workloads", width: "92px" },
  problems: { title: "Problems", sort: "problems", width: "minmax(130px, 1fr)" },
  labels: { title: "Labels", sort: undefined, width: "minmax(170px, 1.4fr)" },
  certificate: { title: "Certificate ends", sort: "certificate", width: "140px" },
  generation: { title: "Desired state", sort: undefined, width: "130px" },
  address: { title: "Address", sort: undefined, width: "150px" },
  agent: { title: "Agent", sort: undefined, width: "110px" },
  createdAt: { title: "Enrolled", sort: "createdAt", width: "110px" },
} as const;

export type Column = keyof typeof COLUMNS;
const ALL = Object.keys(COLUMNS) as Column[];
export const DEFAULT: readonly Column[] = ["health", "connection", "heardAt", "workloads", "problems", "labels"];

export function columns(search: Search): Column[] {
  if (search.columns === undefined) return [...DEFAULT];
  const asked = search.columns.split(".");
  return ALL.filter((column) => asked.includes(column));
}

export const CONNECTIONS = ["online", "offline", "never-seen", "pending", "revoked"] as const;
export const HEALTH = ["failing", "problem", "progressing", "healthy", "unknown", "never-seen", "pending", "revoked"] as const;
/** What needs a person, with its words. */
export const ATTENTION: Record<string, string> = {
  failing: "a workload fails",
  problem: "reports a problem",
  lost: "offline for longer than it may be",
  "never-seen": "enrolled and never connected",
  certificate: "certificate near its end",
  waiting: "waits for approval",
};
/** What is to be thought of a device that is away, with its words. */
export const ABSENCE: Record<string, string> = {
  unexpected: "away against expectation",
  expected: "away as expected",
  ignored: "away and ignored",
};
const SORTS = ["name", ...ALL.flatMap((column) => COLUMNS[column].sort ?? [])];
/** A label's key, as the server reads it. */
const KEY = /^([a-z0-9]([a-z0-9.-]*[a-z0-9])?\/)?[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$/;

/** Filters that take any text, by the API's own names. */
const PLAIN = ["q", "problem", "workload", "site"] as const;
/** Every filter: what "take all filters away" takes away. */
export const FILTERS = ["q", "labels", "connection", "health", "absence", "attention", "problem", "workload", "site"] as const;
/** All that this page reads from its address. */
const KNOWN: readonly string[] = [...FILTERS, "sort", "columns", "group", "open"];

/** A part of the address that was left out, and why. */
export interface Ignored {
  part: string;
  why: string;
  /** The parameter, and what is left of it. */
  name: string;
  rest?: string | undefined;
}

export interface Asked {
  filter: DeviceFilter;
  /** Key of the label by which devices are grouped. */
  group: string | undefined;
  /** Whether any device may be left out. */
  filtered: boolean;
  /** What is wrong with the label selector. */
  fault?: string;
  ignored: Ignored[];
}

const quoted = (words: readonly string[]) => `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;

/** Of several words with commas those that are known. */
function known(search: Search, name: string, words: readonly string[], ignored: Ignored[]): string | undefined {
  const given = (search[name] ?? "").split(",").map((word) => word.trim()).filter(Boolean);
  const bad = given.filter((word) => !words.includes(word));
  const rest = given.filter((word) => words.includes(word)).join(",") || undefined;
  if (bad.length > 0) ignored.push({ part: `${name}=${bad.join(",")}`, why: `it takes ${quoted(words)}`, name, rest });
  return rest;
}

/** What the address asks for. */
export function asked(search: Search): Asked {
  const ignored: Ignored[] = [];
  const filter: DeviceFilter = {};
  for (const name of PLAIN) {
    const value = search[name];
    if (value) filter[name] = value;
  }
  const { fault } = parse(search.labels ?? "");
  if (search.labels && fault === undefined) filter.labelSelector = search.labels;
  if (search.labels && fault !== undefined) ignored.push({ part: `labels=${search.labels}`, why: fault, name: "labels" });
  const one = (name: "connection" | "health" | "absence" | "attention", words: readonly string[]) => {
    const value = known(search, name, words, ignored);
    if (value) filter[name] = value;
  };
  one("connection", CONNECTIONS);
  one("health", HEALTH);
  one("attention", Object.keys(ATTENTION));
  one("absence", Object.keys(ABSENCE));
  const filtered = Object.keys(filter).length > 0;
  if (search.sort) {
    if (SORTS.includes(search.sort.replace(/^-/, ""))) filter.sort = search.sort;
    else ignored.push({ part: `sort=${search.sort}`, why: `devices are sorted by ${quoted(SORTS)}, with - before it for the greatest first`, name: "sort" });
  }
  const unknown = (search.columns ?? "").split(".").filter((column) => column !== "" && column !== "none" && !ALL.includes(column as Column));
  if (unknown.length > 0) ignored.push({ part: `columns=${unknown.join(".")}`, why: `there is no such column; there are ${quoted(ALL)}`, name: "columns", rest: columns(search).join(".") || undefined });
  const group = search.group && KEY.test(search.group) ? search.group : undefined;
  if (search.group && !group) ignored.push({ part: `group=${search.group}`, why: "it takes the key of a label", name: "group" });
  for (const [name, value] of Object.entries(search)) {
    if (!KNOWN.includes(name)) ignored.push({ part: value ? `${name}=${value}` : name, why: "this page has no such parameter", name });
  }
  return { filter, group, filtered, ignored, ...(fault === undefined ? {} : { fault }) };
}

/** The filters as words that can be taken away one by one. */
export function chips(search: Search): { key: string; words: string }[] {
  const words: Record<string, (value: string) => string> = {
    connection: (value) => value.split(",").join(" or ").replaceAll("-", " "),
    health: (value) => value.split(",").join(" or ").replaceAll("-", " "),
    problem: (value) => `problem ${value}`,
    workload: (value) => `runs ${value}`,
    site: (value) => `site ${value}`,
    absence: (value) => value.split(",").map((word) => ABSENCE[word] ?? word).join(" or "),
  };
  // One state alone stands in its own field already.
  const told = (key: string) => ["connection", "health", "absence"].includes(key) && !search[key]?.includes(",");
  return Object.entries(words).flatMap(([key, say]) => (search[key] && !told(key) ? [{ key, words: say(search[key]) }] : []));
}

/** Groups that are open, by their labels' values; `!` is that of the devices without the label. */
export function opened(search: Search): ReadonlySet<string> {
  return new Set((search.open ?? "").split(",").filter(Boolean));
}
