// Times in words: relative to now, and exact in the reader's zone.

const STEPS: [number, string][] = [
  [86_400 * 365, "y"],
  [86_400, "d"],
  [3_600, "h"],
  [60, "min"],
  [1, "s"],
];

/** A span in its largest unit: `45 s`, `3 min`, `2 h`, `5 d`. */
export function span(seconds: number, round = Math.floor): string {
  const whole = Math.max(0, round(seconds));
  for (const [size, unit] of STEPS) {
    // 90 minutes say more than an hour does: the smaller unit stays until there are two.
    const enough = unit === "h" || unit === "d" ? size * 2 : size;
    if (whole >= enough) return `${round(whole / size)} ${unit}`;
  }
  return "0 s";
}

/** `just now`, `3 min ago`, `in 5 d`. Both in milliseconds. */
export function relative(at: number, now: number): string {
  const seconds = (now - at) / 1000;
  // Clocks of two machines differ a little: the near future is now.
  if (seconds > -5 && seconds < 5) return "just now";
  // Four hours less a moment, which the click took, are four hours.
  return seconds < 0 ? `in ${span(-seconds, Math.round)}` : `${span(seconds)} ago`;
}

/** Making one takes longer than drawing a row of a table: they are kept. */
const formats = new Map<string, Intl.DateTimeFormat>();

/** With date, seconds and zone, as the reader's language writes it. */
export function exact(at: number, locale?: string, timeZone?: string): string {
  const key = `${locale} ${timeZone}`;
  let format = formats.get(key);
  if (!format) {
    format = new Intl.DateTimeFormat(locale, { dateStyle: "full", timeStyle: "long", ...(timeZone ? { timeZone } : {}) });
    formats.set(key, format);
  }
  return format.format(at);
}

/** A moment on an axis, in seconds since 1970, as short as the reader's language has it: the day only
 * where there are several. */
export function moment(at: number, all: readonly number[]): string {
  const days = (all.at(-1) ?? 0) - (all[0] ?? 0) > 86_400;
  const step = (all[1] ?? 0) - (all[0] ?? 0);
  const parts: Intl.DateTimeFormatOptions = { hour: "2-digit", minute: "2-digit", ...(days ? { day: "numeric", month: "short" } : {}), ...(step < 60 ? { second: "2-digit" } : {}) };
  return new Intl.DateTimeFormat(undefined, parts).format(at * 1000);
}

const seconds = new Intl.DateTimeFormat(undefined, { month: "short", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** A moment in seconds since 1970, to the second and without the year. */
export function second(at: number): string {
  return seconds.format(at * 1000);
}

const hours = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** The time of day in the reader's zone, to the second; in milliseconds. */
export function clock(at: number): string {
  return hours.format(at);
}

/** A moment in seconds since 1970, to the second: with its day only where that is not today. */
export function clockTime(at: number, now = Date.now()): string {
  const far = Math.abs(now / 1000 - at) > 86_400 || new Date(at * 1000).getDate() !== new Date(now).getDate();
  return far ? second(at) : clock(at * 1000);
}
