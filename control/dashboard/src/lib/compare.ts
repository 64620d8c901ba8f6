// Two devices side by side: the same questions asked of both, and where their answers differ. What
// differs between any two devices (an address, a time, a count of bytes) is shown and not held
// against them.
import { bytes } from "./words";

/** An answer: a text, or a moment. Absent: the device has none. */
export type Answer = { text: string } | { at: string } | undefined;

export interface Row {
  name: string;
  a: Answer;
  b: Answer;
  /** Whether the two are held against each other and are not the same. */
  differs: boolean;
}

export interface Section {
  title: string;
  rows: Row[];
}

interface Workload {
  revision: number;
  phase: string;
  restarts: number;
  state?: string | null | undefined;
  lastState?: string | null | undefined;
}

export interface Compared {
  metadata: { name: string; labels?: Readonly<Record<string, string>> | undefined; createdAt?: string | null | undefined };
  desired?: Readonly<Record<string, { revision: number }>> | undefined;
  status: {
    connection: string;
    connectionSince?: string | null | undefined;
    heardAt?: string | null | undefined;
    health?: { state: string; since?: string | null | undefined } | undefined;
    workloads: Readonly<Record<string, Workload>>;
    problems?: readonly { code: string; message: string }[] | undefined;
    generation: { desired: number; applied: number };
    agent?: string | null | undefined;
    arch?: string | null | undefined;
    kernel?: string | null | undefined;
    address?: string | null | undefined;
    certificateNotAfter?: string | null | undefined;
    data?: unknown;
  };
}

const text = (value: string | number | null | undefined): Answer => (value === null || value === undefined || value === "" ? undefined : { text: String(value) });
const moment = (at: string | null | undefined): Answer => (at ? { at } : undefined);

type Ask = (device: Compared) => Answer;

function row(name: string, a: Compared, b: Compared, ask: Ask, held = true, same: (device: Compared) => unknown = (device) => JSON.stringify(ask(device))): Row {
  return { name, a: ask(a), b: ask(b), differs: held && same(a) !== same(b) };
}

/** All keys of both, in their order. */
function keys(a: Compared, b: Compared, of: (device: Compared) => readonly string[]): string[] {
  return [...new Set([...of(a), ...of(b)])].sort();
}

/** A workload on a device: which revision, in which state. Restarts are shown, and differ anywhere. */
function workload({ desired, status }: Compared, name: string): { shown: string; held: string } | undefined {
  const wanted = desired?.[name]?.revision;
  const said = status.workloads[name];
  if (wanted === undefined && !said) return undefined;
  const revision = wanted === undefined ? "not desired" : said && said.revision !== wanted ? `revision ${wanted} desired, has ${said.revision}` : `revision ${wanted}`;
  const state = said?.state ?? (wanted === undefined ? said?.phase : status.connection === "online" ? "progressing" : "unknown");
  const known = state === "unknown" && said?.lastState ? `unknown (${said.lastState} when last heard)` : state;
  const held = `${revision}, ${known}`;
  return { held, shown: said && said.restarts > 0 ? `${held}, ${said.restarts} ${said.restarts === 1 ? "restart" : "restarts"}` : held };
}

interface Said {
  /** What a link has carried in its period. */
  link?: { period?: "day" | "month"; budget?: number; classes?: Record<string, { sent: number; received: number; budget?: number }> };
  storage?: { used: number; quota: number };
}

function link({ status }: Compared): { period: string; rows: Map<string, { used: number; budget: number | undefined }> } | undefined {
  const of = (status.data as Said | null | undefined)?.link;
  const classes = Object.entries(of?.classes ?? {});
  if (!of || classes.length === 0) return undefined;
  const rows = new Map(classes.map(([name, { sent, received, budget }]) => [name, { used: sent + received, budget }]));
  const all = [...rows.values()].reduce((sum, { used }) => sum + used, 0);
  return { period: of.period ?? "day", rows: new Map([...rows, ["all", { used: all, budget: of.budget }]]) };
}

export function compare(a: Compared, b: Compared): Section[] {
  const one = (name: string, ask: Ask, held = true) => row(name, a, b, ask, held);
  const each = (of: readonly string[], ask: (device: Compared, name: string) => Answer) => of.map((name) => row(name, a, b, (device) => ask(device, name)));
  const links = new Map([a, b].map((device) => [device, link(device)]));
  const used = (device: Compared, name: string): Answer => {
    const found = links.get(device)?.rows.get(name);
    return found && { text: `${bytes(found.used)} this ${links.get(device)?.period}${found.budget === undefined ? "" : ` of ${bytes(found.budget)}`}` };
  };
  const classes = [...new Set([...links.values()].flatMap((found) => [...(found?.rows.keys() ?? [])]))];
  const storage = ({ status }: Compared) => (status.data as Said | null | undefined)?.storage;
  const sections: Section[] = [
    {
      title: "State",
      rows: [
        one("State", ({ status }) => text(status.health?.state.replace("-", " "))),
        one("State since", ({ status }) => moment(status.health?.since), false),
        one("Connection", ({ status }) => text(status.connection.replace("-", " "))),
        one("Connection since", ({ status }) => moment(status.connectionSince), false),
        one("Last heard", ({ status }) => moment(status.heardAt), false),
        one("Desired state", ({ status: { generation } }) => text(generation.applied === generation.desired ? "applied" : "not yet applied")),
      ],
    },
    {
      title: "Versions and facts",
      rows: [
        one("Agent", ({ status }) => text(status.agent)),
        one("Architecture", ({ status }) => text(status.arch)),
        one("Kernel", ({ status }) => text(status.kernel)),
        one("Address", ({ status }) => text(status.address), false),
        one("Enrolled", ({ metadata }) => moment(metadata.createdAt), false),
        one("Certificate ends", ({ status }) => moment(status.certificateNotAfter), false),
      ],
    },
    { title: "Labels", rows: each(keys(a, b, ({ metadata }) => Object.keys(metadata.labels ?? {})), ({ metadata }, name) => { const value = metadata.labels?.[name]; return value === undefined ? undefined : { text: value || "(empty)" }; }) },
    {
      title: "Workloads",
      rows: keys(a, b, ({ desired, status }) => [...Object.keys(desired ?? {}), ...Object.keys(status.workloads)]).map((name) => row(name, a, b, (device) => text(workload(device, name)?.shown), true, (device) => workload(device, name)?.held)),
    },
    {
      title: "Problems",
      rows: keys(a, b, ({ status }) => (status.problems ?? []).map(({ code }) => code)).map((code) => {
        const messages = ({ status }: Compared) => (status.problems ?? []).filter((problem) => problem.code === code).map(({ message }) => message).join("; ");
        return row(code, a, b, (device) => text(messages(device)), true, (device) => messages(device) !== "");
      }),
    },
    {
      title: "Link and buffer",
      rows: [
        ...classes.map((name) => row(name === "all" ? "all classes" : name, a, b, (device) => used(device, name), true, (device) => links.get(device)?.rows.get(name)?.budget)),
        row("Buffer", a, b, (device) => { const found = storage(device); return found && found.quota > 0 ? { text: `${bytes(found.used)} of ${bytes(found.quota)}` } : undefined; }, true, (device) => storage(device)?.quota),
      ],
    },
  ];
  return sections.map(({ title, rows }) => ({ title, rows: rows.filter((found) => found.a !== undefined || found.b !== undefined) }));
}
