// The workloads of a device, as its page and the table tell them: how many are as they should be,
// what is wrong, and the worst first. The states themselves are the control plane's.

interface Status {
  state?: string | null | undefined;
  lastState?: string | null | undefined;
}

interface DeviceOf {
  desired?: Readonly<Record<string, unknown>> | undefined;
  status: {
    connection: string;
    workloads: Readonly<Record<string, Status>>;
    problems?: readonly { code: string }[] | undefined;
  };
}

/** Of the workloads that a device should run: how many run or are done, and the names of what fails. */
export function tally({ desired = {}, status }: DeviceOf): { good: number; all: number; known: boolean; lastGood: number; failing: string[] } {
  const names = Object.keys(desired);
  const good = (state: string | null | undefined) => state === "running" || state === "done";
  return {
    all: names.length,
    // A device that hangs is connected, and what it does is not known all the same.
    known: status.connection === "online" && !names.some((name) => status.workloads[name]?.state === "unknown"),
    good: names.filter((name) => good(status.workloads[name]?.state)).length,
    lastGood: names.filter((name) => good(status.workloads[name]?.lastState)).length,
    failing: names.filter((name) => status.workloads[name]?.state === "failing"),
  };
}

/** What is wrong with a device, in a few words each: workloads that fail, then problems. Of a device
 * that is not connected: what was wrong when it was last heard. */
export function troubles({ desired = {}, status }: DeviceOf): string[] {
  if (status.connection === "revoked") return [];
  const failing = Object.entries(status.workloads).flatMap(([name, { state, lastState }]) => {
    if (!(name in desired)) return [];
    return state === "failing" ? [`${name} failing`] : lastState === "failing" ? [`${name} was failing`] : [];
  });
  return [...failing, ...new Set((status.problems ?? []).map(({ code }) => code))];
}

const ORDER = ["failing", "progressing", "unknown", "paused", "running", "done"];

type Ranked = Status & { name: string };

/** What fails comes first, and what failed when last heard; then what is on its way, then what is not
 * known; equals by name. */
export function worst(a: Ranked, b: Ranked): number {
  const rank = ({ state, lastState }: Ranked) => {
    const at = ORDER.indexOf(state ?? "");
    return at < 0 ? ORDER.length : state === "unknown" && lastState === "failing" ? 0.5 : at;
  };
  return rank(a) - rank(b) || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
}

interface Running {
  metadata: { name: string };
  desired?: Readonly<Record<string, unknown>> | null | undefined;
  status: { connection: string; workloads: Readonly<Record<string, Status | undefined>> };
}

/** Devices by the state of one workload on them, the worst first: another one that fails does not
 * matter. An offline device that has reported nothing of it: unknown. */
export function worstOn<D extends Running>(devices: readonly D[], workload: string): D[] {
  const ranked = devices.map((device) => {
    const { metadata: { name }, status, desired } = device;
    const said = status.workloads[workload];
    const silent = desired?.[workload] === undefined ? undefined : status.connection === "online" ? "progressing" : "unknown";
    return { device, name, state: said ? said.state : silent, lastState: said?.lastState };
  });
  return ranked.sort(worst).map(({ device }) => device);
}
