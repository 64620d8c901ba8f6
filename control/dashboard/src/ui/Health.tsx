// The states of a workload over its devices, in words: what runs, what does not, and what is not known.
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
  /** Of the unknown: on devices that are away as expected, or ignored. */
  away?: number;
}

export function Health({ of }: { of: Summary }) {
  if (of.desired === 0) return <State tone="idle">no device</State>;
  const number = (value: number) => value.toLocaleString("en");
  if (of.running === of.desired) return <State tone="good">runs on all {number(of.desired)}</State>;
  if (of.done === of.desired) return <State tone="good">done on all {number(of.desired)}</State>;
  const away = of.away ?? 0;
  if (away > 0 && of.running > 0 && of.running + away === of.desired) return <State tone="good">runs on all {number(of.running)} that are not away as expected</State>;
  return (
    <span className="hf-row hf-tight">
      {of.failing > 0 && <State tone="bad">{number(of.failing)} failing</State>}
      {of.progressing > 0 && <State tone="move">{number(of.progressing)} progressing</State>}
      {of.unknown > 0 && (
        <>
          <State tone="unknown">{number(of.unknown)} unknown</State>
          <span className="hf-kind">{of.lastRunning === of.unknown ? "running" : `${number(of.lastRunning)} running`} when last heard{away > 0 && `, ${away === of.unknown ? "all" : number(away)} away as expected`}</span>
        </>
      )}
      {of.paused > 0 && <State tone="idle">{number(of.paused)} paused</State>}
      {of.running > 0 && <State tone="good">{number(of.running)} running</State>}
      {of.done > 0 && <State tone="good">{number(of.done)} done</State>}
    </span>
  );
}
