// How something stands and why, in the server's words; the most important reasons first.
import { Card } from "./Card";
import { State } from "./State";
import { Words } from "./Words";

/** Reasons before one asks for more. */
const FIRST = 4;

export function Standing({ of }: { of: { settled: boolean; summary: string; reasons: readonly string[] } }) {
  const rest = of.reasons.slice(FIRST);
  const list = (reasons: readonly string[]) => <ul>{reasons.map((reason, index) => <li key={index}><Words>{reason}</Words></li>)}</ul>;
  return (
    <Card title="How it stands" aside={<State tone={of.settled ? "good" : "warn"}>{of.settled ? "as desired" : "not as desired"}</State>}>
      <p><Words>{of.summary}</Words></p>
      {of.reasons.length > 0 && list(of.reasons.slice(0, FIRST))}
      {rest.length > 0 && <details><summary>{rest.length} more</summary>{list(rest)}</details>}
    </Card>
  );
}
