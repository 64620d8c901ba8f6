// A state as a shape and a word: readable without colour.

export type Tone = "good" | "bad" | "warn" | "idle" | "move";

const SHAPES: Record<Tone, string> = {
  good: "M5 0a5 5 0 100 10A5 5 0 005 0z",
  bad: "M5 0l5 10H0z",
  warn: "M5 0l5 5-5 5-5-5z",
  idle: "M5 0a5 5 0 100 10A5 5 0 005 0zm0 2a3 3 0 110 6 3 3 0 010-6z",
  move: "M1 0l8 5-8 5z",
};

export function State({ tone, children }: { tone: Tone; children: React.ReactNode }) {
  return (
    <span className={`hf-state hf-${tone}`}>
      <svg viewBox="0 0 10 10" aria-hidden="true">
        <path fill="currentColor" fillRule="evenodd" d={SHAPES[tone]} />
      </svg>
      {children}
    </span>
  );
}

const CONNECTIONS: Record<string, Tone> = { online: "good", offline: "bad", "never-seen": "bad", pending: "warn", revoked: "idle" };

export function Connection({ of }: { of: string }) {
  return <State tone={CONNECTIONS[of] ?? "idle"}>{of.replace("-", " ")}</State>;
}

const STATES: Record<string, Tone> = { running: "good", done: "good", failing: "bad", progressing: "move", paused: "warn", unknown: "idle" };

/** The state of a workload on a device; of an unknown one what it was when the device was last heard. */
export function WorkloadState({ of, last }: { of: string; last?: string | null | undefined }) {
  return <State tone={STATES[of] ?? "idle"}>{of}{last ? ` (${last} when last heard)` : ""}</State>;
}

const PHASES: Record<string, Tone> = {
  running: "good", stopped: "idle", failed: "bad", unhealthy: "bad", backoff: "bad", pending: "move", fetching: "move", starting: "move",
};

export function Phase({ of }: { of: string }) {
  return <State tone={PHASES[of] ?? "idle"}>{of || "nothing reported"}</State>;
}
