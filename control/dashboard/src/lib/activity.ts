// Activity in words, where its objects are, and what of it an address asks for.

/** What the reader can have shown, as the API calls it. */
export const CATEGORIES = { change: "Changes", login: "Logins and refusals", read: "Reads", device: "Devices" } as const;
export type Category = keyof typeof CATEGORIES;

/** What is shown unless the reader wants more: logins would be half of it. */
const DEFAULT: readonly Category[] = ["change"];

/** Times that are offered; others are given by their ends. */
export const RANGES: Readonly<Record<string, string>> = { "1h": "Last hour", "8h": "Last 8 hours", "24h": "Last day", "7d": "Last week", "30d": "Last 30 days" };

type Search = Readonly<Record<string, string | undefined>>;

/** The categories of an address: what is none is left out. */
export function categories(show: string | undefined): Category[] {
  const all = Object.keys(CATEGORIES) as Category[];
  if (show === undefined) return [...DEFAULT];
  const wanted = show.split(",");
  return all.filter((one) => wanted.includes(one));
}

/** The same as an address says it; undefined: as without a word. */
export function showing(wanted: readonly Category[]): string | undefined {
  const same = wanted.length === DEFAULT.length && DEFAULT.every((one) => wanted.includes(one));
  return same ? undefined : (Object.keys(CATEGORIES) as Category[]).filter((one) => wanted.includes(one)).join(",") || "none";
}

/** The ends of the time that an address asks for. */
export function range(search: Search): { since?: string; until?: string } {
  if (search.from || search.to) return { ...(search.from ? { since: search.from } : {}), ...(search.to ? { until: search.to } : {}) };
  return search.since ? { since: search.since } : {};
}

/** The API's parameters of an address. */
export function asked(search: Search): Record<string, string> {
  const text = (name: string) => (search[name] ? { [name]: search[name] } : {});
  return { category: categories(search.show).join(","), ...text("who"), ...text("action"), ...text("object"), ...text("q"), ...range(search) } as Record<string, string>;
}

/** Where the same is a file. */
export function file(format: "csv" | "ndjson", search: Search): string {
  return `/api/v1/activity?${new URLSearchParams({ ...asked(search), format }).toString()}`;
}

const DONE: Readonly<Record<string, string>> = {
  "device.label": "changed the labels of",
  "device.enrol": "enrolled",
  "device.renew-expired": "renewed an expired certificate",
  "session.begin": "logged in",
  "session.end": "logged out",
  "session.refused": "was refused a login",
  "user.password": "set the password of",
  "user.second-factor": "changed the second factor of",
  "backup.read": "read an encrypted backup",
  "backup.read-unencrypted": "read a backup that is not encrypted",
  "master-key.rotate": "rotated the master key",
  "device.log": "read a log of",
  "stream.export": "exported a stream of",
  "stream.export-all": "exported a stream",
  "audit.list": "read the audit log",
  "activity.list": "read the activity",
  "audit.export": "exported the audit log",
  "audit.verify": "verified the audit log",
  "audit.begin": "began the chain of the audit log",
  "audit.cut": "cut old entries of the audit log",
  "device.connect": "connected",
  "reader.connect": "connected as an MQTT reader",
  "policy.get": "read the document",
  "policy.list": "listed documents",
  "policy.devices": "listed the devices of",
  "volume.delete": "deleted a volume of",
  "volume.backup": "backed up a volume of",
  "volume.restore": "restored a volume of",
  restore: "restored a backup",
  "device.connected": "connected",
  "device.disconnected": "disconnected",
  "device.phase": "changed",
  "device.restart": "restarted",
  "device.problem": "problem",
};

const VERBS: Readonly<Record<string, string>> = {
  apply: "applied", push: "pushed", delete: "deleted", create: "created", revoke: "revoked", approve: "approved", restart: "restarted",
  pause: "paused", resume: "resumed", rollback: "rolled back", silence: "silenced", unmute: "ended the silence of", acknowledge: "acknowledged", read: "read", fetch: "fetched", test: "tested", change: "changed", rotate: "rotated",
};

/** What was done, in a word or a few. Of an action that is not known: its name. */
export function did(action: string): string {
  return DONE[action] ?? VERBS[action.slice(action.indexOf(".") + 1)] ?? action;
}

const KINDS: Readonly<Record<string, string>> = { alarm: "alarm", stream: "stream policy", devicepolicy: "device policy", access: "access token", rolebinding: "role binding", token: "enrolment token", linkbudget: "link budget" };

export const kindOf = (kind: string) => KINDS[kind] ?? kind;

/** Kinds whose pages are those of data policies. */
const POLICIES: Readonly<Record<string, string>> = { stream: "streams", linkbudget: "linkbudgets" };

/** Pages that show all objects of a kind that has none for each. */
const LISTS: Readonly<Record<string, string>> = { access: "/settings", user: "/settings", rolebinding: "/settings", session: "/settings", tenant: "/settings", token: "/enrolment", alarm: "/notifications" };

/** Where an object is looked at: at the page of its kind, among these paths. Undefined: nowhere. */
export function placeOf(kind: string, name: string, paths: readonly string[]): string | undefined {
  if (POLICIES[kind]) return `/policies/${POLICIES[kind]}/${encodeURIComponent(name)}`;
  const place = `/${kind.endsWith("y") ? `${kind.slice(0, -1)}ies` : `${kind}s`}/`;
  return paths.includes(`${place}$name`) ? place + encodeURIComponent(name) : LISTS[kind];
}

/** A message without the workload's name in front, where that stands beside it. */
export function without(workload: string | null | undefined, message: string): string {
  return workload && message.startsWith(`${workload}: `) ? message.slice(workload.length + 2) : message;
}

/** Who did it: by the name that the access token had then. */
export function who(by: string, name?: string | null): string {
  if (by === "holdfast") return "the control plane";
  if (by.startsWith("token ")) return `enrolment ${by}`;
  return name || by;
}

/** Where the difference that an apply made is looked at. */
export function difference(workload: string, revision: number): { to: string; search: Record<string, string> } {
  const search: Record<string, string> = { tab: "revisions", to: String(revision) };
  if (revision > 1) search.from = String(revision - 1);
  return { to: `/workloads/${encodeURIComponent(workload)}`, search };
}

/** `2026-11-28T22:10` of the reader's clock as a moment that the API takes; undefined: it is none. */
export function moment(local: string): string | undefined {
  const at = new Date(local);
  return Number.isNaN(at.getTime()) ? undefined : at.toISOString();
}

/** A moment as a field for date and time shows it, in the reader's zone. */
export function local(moment: string | undefined): string {
  const at = new Date(moment ?? "");
  if (Number.isNaN(at.getTime())) return "";
  return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
