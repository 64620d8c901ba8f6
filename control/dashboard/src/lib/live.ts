// When a link counts as silent. The control plane sends an event every 12 s at least: two that are
// missed, and some slack for a busy machine, are still told within 30 s.

/** Silence after which the link counts as dead, in milliseconds. */
export const SILENT = 26_000;

/** How long an event stream may take to open. */
export const OPENING = 10_000;

export type Link = "live" | "late" | "silent";

/** Heard lately, later than the next heartbeat was due, or not at all any more. */
export function link(heard: number, now: number): Link {
  const silence = now - heard;
  if (silence >= SILENT) return "silent";
  return silence > 15_000 ? "late" : "live";
}

/** `3 s`, for a sign that is renewed each second. */
export function ago(heard: number, now: number): string {
  const seconds = Math.max(0, Math.round((now - heard) / 1000));
  return seconds < 120 ? `${seconds} s` : `${Math.floor(seconds / 60)} min`;
}
