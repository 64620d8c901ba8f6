// What became of restarts and pauses, in words.
import { count } from "./words";

interface Not {
  device: string;
  reason: string;
}

/** Above so many devices their number is typed before they are restarted or paused. */
export const MANY_HIT = 10;
/** Above so many devices their number is typed before something is applied to them. */
export const MANY_APPLIED = 20;

/** `restarted on 3, failed on 1, 2 offline: not asked, 1 paused: not asked`. */
export function restarted(result: { restarted: readonly string[]; failed: readonly Not[]; notAsked: readonly Not[] }): string {
  const parts = [`restarted on ${count(result.restarted.length, "device")}`];
  if (result.failed.length > 0) parts.push(`not restarted on ${result.failed.length.toLocaleString("en")}`);
  const reasons = new Map<string, number>();
  for (const { reason } of result.notAsked) reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
  for (const [reason, number] of reasons) parts.push(`${number.toLocaleString("en")} ${reason}: not asked`);
  return parts.join(", ");
}

/** `paused on 3 devices; 1 is offline and follows when it is back`. */
export function paused(word: "paused" | "resumed", result: { deviceCount: number; offlineCount: number; everywhere: boolean }): string {
  const { deviceCount, offlineCount, everywhere } = result;
  const where = everywhere ? `everywhere, ${count(deviceCount, "device")}` : `on ${count(deviceCount, "device")}`;
  const later = offlineCount === 0 ? "" : offlineCount === 1 ? "; 1 is offline and follows when it is back" : `; ${offlineCount.toLocaleString("en")} are offline and follow when they are back`;
  return `${word} ${where}${later}`;
}

/** How many devices a set of changes reaches. */
export function reached(results: readonly { changedDevices?: { gainCount: number; loseCount: number; updateCount: number } }[]): number {
  return results.reduce((most, { changedDevices: of }) => Math.max(most, of ? of.gainCount + of.loseCount + of.updateCount : 0), 0);
}
