// Words about devices that are away, as the server tells them.

/** What a device policy says, from its document: "alarm after 12h", "expected", "ignore". */
export function rule(spec: unknown): string {
  const when = (spec as { whenOffline?: unknown } | undefined)?.whenOffline;
  if (typeof when === "string") return when;
  const after = (when as { alarmAfter?: unknown } | undefined)?.alarmAfter;
  return typeof after === "string" ? `alarm after ${after}` : "";
}

interface Absence {
  policy?: string | null;
  rule: string;
  state?: string | null;
  expected: boolean;
}

/** The rule in force on a device, in a few words. */
export function inForce({ policy, rule, state }: Absence): string {
  const away = { expected: "expected to be away", ignored: "its absence is ignored", unexpected: "away against expectation" }[state ?? ""];
  const by = policy ? `device policy ${policy}` : "no device policy";
  return away ? `${away} (${by}: ${rule})` : `when offline: ${rule} (${by})`;
}

/**
 * In how many milliseconds devices are read again so that when they were heard is not told from old
 * data: nobody tells of a packet that says nothing new. By when their next packets are due; no more
 * often than each `least` milliseconds. False: none is due.
 */
export function againAt(heardBy: readonly string[], now: number, least: number): number | false {
  const first = Math.min(...heardBy.map((at) => Date.parse(at)).filter((at) => !Number.isNaN(at)));
  return Number.isFinite(first) ? Math.max(first + 1_000 - now, least) : false;
}

/** The first words of an example to begin with. */
export const EXAMPLE = `apiVersion: holdfast/v1
kind: DevicePolicy
metadata:
  name: trucks
spec:
  devices:
    matchLabels:
      kind: truck
  whenOffline:
    alarmAfter: 12h
`;
