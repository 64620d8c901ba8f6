// The states of a workload over its devices, in words.
import { State } from "./State";

interface Summary {
  desired: number;
  running: number;
  done: number;
  progressing: number;
  failing: number;
  paused: number;
  unknown: number;
  lastRunning: number;
}

export function Health({ of }: { of: Summary }) {
  if (of.desired === 0) return <State tone="idle">no device</State>;
  const number = (value: number) => value.toLocaleString("en");
  if (of.running === of.desired) return <State tone="good">runs on all {number(of.desired)}</State>;
  if (of.done === of.desired) return <State tone="good">done on all {number(of.desired)}</State>;
  return (
    <span className="hf-row hf-tight">
      {of.failing > 0 && <State tone="bad">{number(of.failing)} failing</State>}
      {of.progressing > 0 && <State tone="move">{number(of.progressing)} progressing</State>}
      {of.paused > 0 && <State tone="warn">{number(of.paused)} paused</State>}
      {of.running > 0 && <State tone="good">{number(of.running)} running</State>}
      {of.done > 0 && <State tone="good">{number(of.done)} done</State>}
      {of.unknown > 0 && <State tone="idle">{number(of.unknown)} unknown ({number(of.lastRunning)} running when last heard)</State>}
    </span>
  );
}
