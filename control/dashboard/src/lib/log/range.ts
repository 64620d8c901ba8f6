// Which part of a log is asked for: as words in the address, as parameters of the API.

export interface Range {
  /** Lines from the end. */
  tail?: number;
  /** Written at this time or later: a length of time such as `5m`, or RFC 3339. */
  since?: string;
  until?: string;
  /** So many runs before the present one; 0: all runs, and what comes. */
  run: number;
}

export const TAILS = [100, 500, 5_000];
const TAIL = 500;
export const SPANS = ["5m", "1h", "24h"];
/** Runs before the present one whose start is kept by devices. */
export const RUNS = 10;

/** The range that an address names; what it does not understand counts as not said. */
export function rangeOf({ tail, since, until, run }: Record<string, string | undefined>): Range {
  const back = Number(run);
  const runs = Number.isInteger(back) && back > 0 && back <= RUNS ? back : 0;
  const from = time(since, true);
  const to = time(until, false);
  if (from !== undefined || to !== undefined) return { run: runs, ...(from === undefined ? {} : { since: from }), ...(to === undefined ? {} : { until: to }) };
  const lines = Number(tail);
  // Of one run all is meant, unless lines are named.
  if (runs > 0 && tail === undefined) return { run: runs };
  return { run: runs, tail: TAILS.includes(lines) ? lines : TAIL };
}

function time(text: string | undefined, span: boolean): string | undefined {
  if (text === undefined) return undefined;
  if (span && /^\d{1,6}[smhd]$/.test(text)) return text;
  const at = Date.parse(text);
  return Number.isNaN(at) ? undefined : new Date(at).toISOString().replace(/\.\d+Z$/, "Z");
}

/** What is written from now on belongs to it. */
export function follows({ until, run }: Range): boolean {
  return until === undefined && run === 0;
}

/** The API's parameters. */
export function parameters({ tail, since, until, run }: Range): Record<string, string> {
  return {
    ...(tail === undefined ? {} : { tail: String(tail) }),
    ...(since === undefined ? {} : { since }),
    ...(until === undefined ? {} : { until }),
    ...(run === 0 ? {} : { previous: String(run) }),
  };
}

/** A moment for a field of date and time in the reader's zone. */
export function local(rfc3339: string | undefined): string {
  const at = Date.parse(rfc3339 ?? "");
  if (Number.isNaN(at)) return "";
  return new Date(at - new Date(at).getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

export function logAddress(device: string, workload: string, part: Record<string, string>): string {
  return `/api/v1/devices/${encodeURIComponent(device)}/workloads/${encodeURIComponent(workload)}/logs?${new URLSearchParams(part)}`;
}
