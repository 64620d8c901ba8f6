// How a workload fares over its devices, in words.
import { State } from "./State";

interface Summary {
  desired: number;
  running: number;
  progressing: number;
  failing: number;
  offline: number;
}

export function Health({ of }: { of: Summary }) {
  if (of.desired === 0) return <State tone="idle">no device</State>;
  const number = (value: number) => value.toLocaleString("en");
  if (of.running === of.desired) return <State tone="good">runs on all {number(of.desired)}</State>;
  return (
    <span className="hf-row hf-tight">
      {of.failing > 0 && <State tone="bad">{number(of.failing)} failing</State>}
      {of.progressing > 0 && <State tone="move">{number(of.progressing)} on their way</State>}
      {of.offline > 0 && <State tone="idle">{number(of.offline)} offline</State>}
      {of.running > 0 && <State tone="good">{number(of.running)} running</State>}
    </span>
  );
}
