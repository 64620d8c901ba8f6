// What a link has carried of its budget, and what it will have carried when the period ends, if it
// goes on as it did.

export interface ClassUse {
  sent: number;
  received: number;
  budget?: number;
}

export interface LinkUse {
  /** Seconds since 1970. */
  since: number;
  /** Absent: an older agent. */
  period?: "day" | "month";
  budget?: number;
  classes?: Record<string, ClassUse>;
}

export interface Row {
  name: string;
  used: number;
  budget?: number | undefined;
  /** At the period's end. */
  forecast: number;
}

export interface Use {
  period: "day" | "month";
  /** Seconds since 1970. */
  ends: number;
  total: Row;
  rows: Row[];
}

const DAY = 86_400;
const ORDER = ["control", "events", "data", "logs", "artifacts"];

/** Which period it is, and its end. Where an older agent does not say it: one that has lasted longer than a day is a month. */
function period({ since, period: said }: LinkUse, now: number): { period: "day" | "month"; ends: number } {
  if ((said ?? (now - since <= DAY ? "day" : "month")) === "day") return { period: "day", ends: since - (since % DAY) + DAY };
  const begin = new Date(since * 1000);
  return { period: "month", ends: Date.UTC(begin.getUTCFullYear(), begin.getUTCMonth() + 1, 1) / 1000 };
}

/** `now` in seconds since 1970. */
export function use(link: LinkUse, now: number): Use {
  const { period: length, ends } = period(link, now);
  // In its first minutes a period tells nothing of its rest.
  const passed = Math.max(now - link.since, 300);
  const left = Math.max(ends - now, 0);
  const row = (name: string, used: number, budget?: number): Row => ({ name, used, budget, forecast: Math.round(used + (used / passed) * left) });
  const classes = Object.entries(link.classes ?? {}).sort(([a], [b]) => ORDER.indexOf(a) - ORDER.indexOf(b));
  const rows = classes.map(([name, { sent, received, budget }]) => row(name, sent + received, budget));
  return { period: length, ends, rows, total: row("all", rows.reduce((sum, { used }) => sum + used, 0), link.budget) };
}
