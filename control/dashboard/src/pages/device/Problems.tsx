// What a device reports as a problem: since when, what follows from it, and the document that asks
// for what it cannot do.
import { Button } from "@mantine/core";
import { useState } from "react";
import type { Device, Problem } from "../../api/types";
import { Card } from "../../ui/Card";
import { PageLink, type Target } from "../../ui/PageLink";
import { State } from "../../ui/State";
import { Since, Time } from "../../ui/Time";
import { Words } from "../../ui/Words";

/** Problems before one asks for more. */
const FIRST = 8;

/** Where more is told of a problem: its document, or the tab that it is about. */
function about(area: Problem["area"], name: string): { target: Target; word: string } | undefined {
  const tab = (tab: string, word: string) => ({ target: { to: `/devices/${encodeURIComponent(name)}`, search: { tab } }, word });
  if (area === "link") return tab("streams", "Its link and its budgets");
  if (area === "streams") return tab("streams", "Its streams");
  return undefined;
}

export function Problems({ device: { metadata, status } }: { device: Device }) {
  const [all, setAll] = useState(false);
  const problems = status.problems ?? [];
  // Of a device that was not heard in time as little is known as of one that is offline.
  const known = status.connection === "online" && status.health?.state !== "unknown";
  const shown = all ? problems : problems.slice(0, FIRST);
  return (
    <Card title="Problems">
      {problems.length === 0 && <p>{known ? "It reports none." : status.heardAt ? <>It reported none when last heard, <Time at={status.heardAt} />.</> : "Nothing was heard of it yet."}</p>}
      {problems.length > 0 && !known && <p className="hf-kind">As it reported when last heard, <Time at={status.heardAt} />.</p>}
      {problems.length > 0 && (
        <ul className="hf-list">
          {shown.map((problem) => {
            const more = about(problem.area, metadata.name);
            return (
              <li key={`${problem.code} ${problem.message}`} className="hf-stack hf-tight">
                <span className="hf-row hf-tight"><State tone={known ? "bad" : "unknown"}>{problem.code}</State>{problem.since && <Since at={problem.since} />}</span>
                <span className="hf-reason"><Words>{problem.message}</Words></span>
                {(problem.consequences ?? []).length > 0 && <ul aria-label={`What follows from ${problem.code}`}>{(problem.consequences ?? []).map((one) => <li key={one}><Words>{one}</Words></li>)}</ul>}
                {problem.cure && <span className="hf-kind">What helps: <Words>{problem.cure}</Words></span>}
                {more && <span><PageLink {...more.target}>{more.word}</PageLink></span>}
              </li>
            );
          })}
        </ul>
      )}
      {shown.length < problems.length && <div><Button size="xs" variant="default" onClick={() => setAll(true)}>Show all {problems.length}</Button></div>}
    </Card>
  );
}
