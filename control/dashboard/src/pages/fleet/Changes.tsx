// What changed lately: what people did (the audit log) and what devices said since this page was
// opened, newest first.
import { useQuery } from "@tanstack/react-query";
import * as read from "../../api/queries";
import type { Event } from "../../api/types";
import { changed, who } from "../../lib/activity";
import { Card } from "../../ui/Card";
import { Loading } from "../../ui/Loading";
import { Failed } from "../../ui/Notice";
import { deviceAt, PageLink } from "../../ui/PageLink";
import { Time } from "../../ui/Time";
import { Words } from "../../ui/Words";

/** Lines of the card. */
const SHOWN = 12;

interface Change {
  key: string;
  at: number;
  who: string;
  what: string;
  to?: string;
}

export function Changes({ live }: { live: readonly Event[] }) {
  const { data, error, refetch } = useQuery(read.audit());
  const done: Change[] = (data?.items ?? []).filter((entry) => !entry.action.startsWith("session.")).map((entry) => ({ key: `a${entry.number}`, at: entry.at * 1000, who: who(entry.by, entry.byName), what: changed(entry) }));
  const heard: Change[] = live
    .filter((event) => event.type === "device" && event.message !== "")
    .map((event, index) => ({ key: `e${event.at}${event.name}${index}`, at: Date.parse(event.at), who: event.name, what: event.message, to: deviceAt(event.name) }));
  const all = [...heard, ...done].sort((a, b) => b.at - a.at).slice(0, SHOWN);
  return (
    <Card title="Changed lately" aside={<PageLink to="/activity">All activity</PageLink>}>
      {!data && (error ? <Failed error={error} what="The audit log could not be read" retry={() => void refetch()} /> : <Loading />)}
      {data && all.length === 0 && <p>Nothing yet.</p>}
      <ul className="hf-list">
        {all.map((change) => (
          <li key={change.key}>
            <span className="hf-kind"><Time at={change.at} /> · </span>
            {change.to ? <PageLink to={change.to}>{change.who}</PageLink> : <span>{change.who}</span>}
            <span>: <Words>{change.what}</Words></span>
          </li>
        ))}
      </ul>
    </Card>
  );
}

