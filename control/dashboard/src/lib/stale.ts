// What an event makes stale: the keys of `queries.ts` that must be read anew, and no others.
// See decision 0113.

export interface Told {
  type: string;
  name: string;
  parts?: readonly string[];
}

/** Records of streams: no event tells of them, they are read again by themselves. */
export const DATA: ReadonlySet<unknown> = new Set(["streams", "series", "ledger", "records", "sparklines"]);

export type Keys = readonly (readonly string[])[];

/** The first words of the keys that an event makes stale. */
export function stale(event: Told): Keys {
  const { type, name, parts = [] } = event;
  if (type === "workload") return [["workload", name], ["workloads"], ["devices"], ["device"], ["fleet"], ["images"], ["image"], ["audit"]];
  // Which layers others share, too.
  if (type === "image") return [["images"], ["image"], ["audit"]];
  if (["stream", "linkbudget", "secret", "config"].includes(type)) return [["policies"], ["policy"], ["streams"], ["device"], ["audit"]];
  // Which devices may be away: what is said of them and of the fleet is another.
  if (type === "devicepolicy") return [["devices"], ["device"], ["fleet"], ["workloads"], ["workload"], ["audit"]];
  // What mutes an alarm has a name, and the fleet counts it apart; alarms themselves come with devices.
  if (type === "alarm") return name === "" ? [["alarm"]] : [["alarm"], ["fleet"], ["audit"]];
  if (type === "notification") return [["notification"]];
  // Who may do what: what the reader may do, too.
  if (type === "rolebinding") return [["policies"], ["users"], ["whoami"], ["audit"]];
  if (type === "tenant") return [["tenants"], ["policies"], ["audit"]];
  if (type === "user") return [["users"], ["sessions"], ["whoami"], ["audit"]];
  if (type === "access") return [["access"], ["sessions"], ["whoami"], ["audit"]];
  if (type === "token") return [["tokens"], ["audit"]];
  if (type !== "device") return [[type], ["audit"]];
  const all = [["device", name], ["devices"], ["fleet"]];
  if (parts.length === 0) return [...all, ["labels"], ["audit"], ["workloads"], ["workload"], ["tokens"]];
  if (parts.some((part) => part === "connection" || part === "applied")) return [...all, ["workloads"], ["workload"]];
  const workloads = parts.filter((part) => part.startsWith("workloads/")).map((part) => ["workload", part.slice("workloads/".length)]);
  return workloads.length > 0 ? [...all, ["workloads"], ...workloads] : all;
}
