// A state as a shape and a word: readable without colour. What is not known is grey, and said.
import { Since, Time } from "./Time";

export type Tone = "good" | "bad" | "warn" | "idle" | "move" | "unknown";

const SHAPES: Record<Tone, string> = {
  good: "M5 0a5 5 0 100 10A5 5 0 005 0z",
  bad: "M5 0l5 10H0z",
  warn: "M5 0l5 5-5 5-5-5z",
  idle: "M5 0a5 5 0 100 10A5 5 0 005 0zm0 2a3 3 0 110 6 3 3 0 010-6z",
  move: "M1 0l8 5-8 5z",
  unknown: "M1 4h3v2H1zM6 4h3v2H6z",
};

export function State({ tone, title, children }: { tone: Tone; title?: string | undefined; children: React.ReactNode }) {
  return (
    <span className={`hf-state hf-${tone}`} title={title}>
      <svg viewBox="0 0 10 10" aria-hidden="true">
        <path fill="currentColor" fillRule="evenodd" d={SHAPES[tone]} />
      </svg>
      {children}
    </span>
  );
}

const CONNECTIONS: Record<string, Tone> = { online: "good", offline: "bad", "never-seen": "bad", pending: "warn", revoked: "idle" };

interface ConnectionOf {
  of: string;
  /** When that began. */
  since?: string | null | undefined;
  /** Of a device that is away: whether a device policy expects it, or leaves it out. */
  away?: string | null | undefined;
  /** In a narrow column. */
  short?: boolean;
}

const AWAY: Record<string, string> = { expected: "as expected", ignored: "ignored" };

/** An absence that a device policy expects is no fault, and grey. */
export function Connection({ of, since, away, short = false }: ConnectionOf) {
  const normal = AWAY[away ?? ""];
  return (
    <span className="hf-row hf-tight hf-one">
      <State tone={normal ? "idle" : (CONNECTIONS[of] ?? "idle")} title={normal}>{of.replace("-", " ")}{normal && !short ? `, ${normal}` : ""}</State>
      {since && <Since at={since} short={short} />}
    </span>
  );
}

const STATES: Record<string, Tone> = { running: "good", done: "good", failing: "bad", progressing: "move", paused: "idle", unknown: "unknown" };

interface WorkloadStateOf {
  of: string | null | undefined;
  /** Of an unknown state: the state when the device was last heard. */
  last?: string | null | undefined;
  /** When the device was last heard. */
  heard?: string | null | undefined;
  since?: string | null | undefined;
}

/** The state of a workload on a device. */
export function WorkloadState({ of, last, heard, since }: WorkloadStateOf) {
  if (!of) return <State tone="idle">not desired</State>;
  return (
    <span className="hf-row hf-tight">
      <State tone={STATES[of] ?? "idle"}>{of}</State>
      {of === "unknown" ? (
        <span className="hf-kind">{last ? <>{last} when last heard{heard && <>, <Time at={heard} /></>}</> : "nothing heard of it"}</span>
      ) : since ? <Since at={since} /> : null}
    </span>
  );
}

const HEALTH: Record<string, [Tone, string]> = {
  healthy: ["good", "healthy"],
  failing: ["bad", "failing"],
  problem: ["bad", "problem"],
  progressing: ["move", "progressing"],
  unknown: ["unknown", "unknown"],
  "never-seen": ["unknown", "never seen"],
  pending: ["warn", "pending"],
  revoked: ["idle", "revoked"],
};

interface HealthOf {
  state: string;
  since?: string | null | undefined;
  failing?: readonly string[];
  problems?: number;
}

/** Whether a device is as it should be, by the control plane's one meaning. */
export function DeviceHealth({ of, short = false }: { of: HealthOf | undefined; short?: boolean }) {
  if (!of) return null;
  const [tone, word] = HEALTH[of.state] ?? ["idle" as const, of.state];
  const failing = of.failing ?? [];
  return (
    <span className="hf-row hf-tight hf-one">
      <State tone={tone} title={failing.length > 0 ? `Failing: ${failing.join(", ")}` : undefined}>{word}</State>
      {of.since && <Since at={of.since} short={short} />}
    </span>
  );
}

const PHASES: Record<string, Tone> = {
  running: "good", stopped: "idle", failed: "bad", unhealthy: "bad", backoff: "bad", pending: "move", fetching: "move", starting: "move",
};

/** Phases whose name in the API says little. */
const PHASE_WORDS: Record<string, string> = { backoff: "waiting to restart", fetching: "downloading" };

export function Phase({ of }: { of: string }) {
  return <State tone={PHASES[of] ?? "idle"}>{(PHASE_WORDS[of] ?? of) || "nothing reported"}</State>;
}
