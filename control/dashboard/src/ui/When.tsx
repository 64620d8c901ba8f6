// When something happened, on one line: how long ago, and the moment; of several, the last as well.
import { second } from "../lib/time";
import { Time } from "./Time";

export function When({ at, until }: { at: string; until?: string | null | undefined }) {
  return (
    <span className="hf-when">
      <Time at={until ?? at} />
      <span className="hf-kind">{second(Date.parse(at) / 1000)}</span>
      {until && <span className="hf-kind">to {second(Date.parse(until) / 1000)}</span>}
    </span>
  );
}
