// What is said of alarms and of what mutes them, in words.
import { some } from "./words";

/** Which alarms, as the API's body has it. */
export interface Matcher {
  kind?: string | undefined;
  code?: string | undefined;
  device?: string | undefined;
  labelSelector?: string | undefined;
}

interface Item {
  kind: string;
  code?: string | null | undefined;
  count: number;
  devices: readonly string[];
}

/** The alarms that an item of the fleet's summary is about. */
export function matcherOf({ kind, code }: Item): Matcher {
  return { kind, ...(code ? { code } : {}) };
}

const KINDS: Record<string, string> = {
  lost: "device offline",
  "never-seen": "device never connected",
  certificate: "certificate",
  failing: "failing workload",
  problem: "problem",
  waiting: "waiting for approval",
};

/** A kind of alarm for people. */
export const kindWord = (kind: string) => KINDS[kind] ?? kind.replaceAll("-", " ");

/** A matcher in words: `failing workload hello on gw-1`. */
export function matcherWords({ kind, code, device, labelSelector }: Matcher): string {
  const what = [kind && kindWord(kind), code].filter(Boolean).join(" ");
  const where = device ? `on ${device}` : labelSelector ? `on devices with ${labelSelector}` : "";
  return `${what || "every alarm"}${where ? ` ${where}` : ""}`;
}

/** How long a silence may be chosen to last, in seconds, with its words. */
export const SPANS: readonly (readonly [number, string])[] = [
  [3_600, "1 hour"],
  [4 * 3_600, "4 hours"],
  [12 * 3_600, "12 hours"],
  [86_400, "1 day"],
  [7 * 86_400, "7 days"],
];

/** Whether nobody need look at it now: every alarm of it is acknowledged or silenced. */
export function isMuted({ acknowledged, silenced, count }: { acknowledged: number; silenced: number; count: number }): boolean {
  return count > 0 && acknowledged + silenced >= count;
}

/** Of an item: how many of its alarms are muted, in words; empty: none. */
export function mutedWords({ acknowledged = 0, silenced = 0, count }: { acknowledged?: number | undefined; silenced?: number | undefined; count: number }): string {
  const of = (number: number, word: string) => (number === 0 ? [] : [number >= count && count > 0 ? word : `${number.toLocaleString("en")} ${word}`]);
  return some([...of(acknowledged, "acknowledged"), ...of(silenced, "silenced")]);
}
