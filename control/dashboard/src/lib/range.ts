// The time that a chart or a table shows: one of some spans that end now, or from one moment to
// another. In the address: `span`, or `from` and `to` (RFC 3339 in UTC).

export interface Span {
  value: string;
  label: string;
  seconds: number;
}

export const SPANS: readonly Span[] = [
  { value: "15m", label: "last 15 minutes", seconds: 900 },
  { value: "1h", label: "last hour", seconds: 3_600 },
  { value: "24h", label: "last day", seconds: 86_400 },
  { value: "7d", label: "last 7 days", seconds: 7 * 86_400 },
  { value: "30d", label: "last 30 days", seconds: 30 * 86_400 },
];
export const USUAL = "1h";
/** The value of the choice that shows the two fields. */
export const CUSTOM = "custom";

export interface TimeRange {
  /** As the API takes it: a length before now, or a moment. */
  since: string;
  until: string | undefined;
  /** How long it is, in seconds. */
  seconds: number;
  /** It ends now, and moves. */
  live: boolean;
}

/** What an address says. `to` absent: until now. */
export function rangeOf(search: Readonly<Record<string, string | undefined>>, now: number): TimeRange {
  const from = search.from === undefined ? NaN : Date.parse(search.from);
  if (!Number.isNaN(from)) {
    const to = search.to === undefined ? NaN : Date.parse(search.to);
    const end = Number.isNaN(to) ? now : to;
    // The other way round is what was meant.
    const [first, last] = from < end ? [from, end] : [end, from];
    return { since: new Date(first).toISOString(), until: Number.isNaN(to) ? undefined : new Date(Math.max(last, first + 1_000)).toISOString(), seconds: Math.max(1, (last - first) / 1000), live: Number.isNaN(to) };
  }
  const span = SPANS.find(({ value }) => value === search.span) ?? SPANS.find(({ value }) => value === USUAL);
  return { since: span?.value ?? USUAL, until: undefined, seconds: span?.seconds ?? 3_600, live: true };
}

const two = (number: number) => String(number).padStart(2, "0");

/** A moment as `datetime-local` fields have it: in the reader's zone, to the second. */
export function toField(at: string | undefined): string {
  const date = at === undefined ? undefined : new Date(at);
  if (!date || Number.isNaN(date.getTime())) return "";
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}T${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** Back; undefined: nothing that is a moment. */
export function ofField(text: string): string | undefined {
  const at = text === "" ? NaN : new Date(text).getTime();
  return Number.isNaN(at) ? undefined : new Date(at).toISOString();
}
