// What changed lately: what people did and what devices said since this page was opened, newest
// first.
import { useQuery } from "@tanstack/react-query";
import * as read from "../../api/queries";
import type { Activity, Event } from "../../api/types";
import { did, who } from "../../lib/activity";
import { Card } from "../../ui/Card";
import { Loading } from "../../ui/Loading";
import { Failed } from "../../ui/Notice";
import { deviceAt, PageLink } from "../../ui/PageLink";
import { Thing } from "../../ui/Thing";
import { Time } from "../../ui/Time";

/** Lines of the card. */
const SHOWN = 12;

interface Change {
  key: string;
  at: number;
  line: React.ReactNode;
}

export function Changes({ live }: { live: readonly Event[] }) {
  const { data, error, refetch } = useQuery(read.lately(SHOWN));
  const done: Change[] = (data?.items ?? []).map((entry, index) => ({ key: `a${entry.at}${index}`, at: Date.parse(entry.at), line: <Done of={entry} /> }));
  const heard: Change[] = live
    .filter((event) => event.type === "device" && event.message !== "")
    .map((event, index) => ({ key: `e${event.at}${event.name}${index}`, at: Date.parse(event.at), line: <><PageLink to={deviceAt(event.name)}>{event.name}</PageLink>: {event.message}</> }));
  const all = [...heard, ...done].sort((a, b) => b.at - a.at).slice(0, SHOWN);
  return (
    <Card title="Changed lately" aside={<PageLink to="/activity">All activity</PageLink>}>
      {!data && (error ? <Failed error={error} what="The activity could not be read" retry={() => void refetch()} /> : <Loading />)}
      {data && all.length === 0 && <p>Nothing yet.</p>}
      <ul className="hf-list">
        {all.map(({ key, at, line }) => <li key={key}><span className="hf-kind"><Time at={at} /> · </span>{line}</li>)}
      </ul>
    </Card>
  );
}

function Done({ of: { by, byName, action, object, message } }: { of: Activity }) {
  return <>{who(by, byName)} {did(action)}{object && <> <Thing {...object} /></>}{message && `: ${message}`}</>;
}
