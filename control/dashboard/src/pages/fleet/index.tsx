// The fleet at a glance: counts, what needs a person first, what changed lately, sites.
import { useQuery } from "@tanstack/react-query";
import { recent } from "../../api/events";
import * as read from "../../api/queries";
import { useStore } from "../../api/store";
import { count, some } from "../../lib/words";
import { Card } from "../../ui/Card";
import { Loading } from "../../ui/Loading";
import { Failed, Notice } from "../../ui/Notice";
import { PageHead } from "../../ui/PageHead";
import { PageLink } from "../../ui/PageLink";
import { State, type Tone } from "../../ui/State";
import { Changes } from "./Changes";
import { Sites } from "./Sites";

const SEVERITIES: Record<string, Tone> = { critical: "bad", warning: "warn", info: "move" };

export default function Fleet() {
  const { data, error, refetch } = useQuery(read.fleet());
  const live = useStore(recent);
  if (!data) {
    return (
      <div className="hf-stack">
        <PageHead title="Fleet" />
        {error ? <Failed error={error} what="The fleet could not be read" retry={() => void refetch()} /> : <Loading rows={8} />}
      </div>
    );
  }
  const { devices, workloads } = data;
  return (
    <div className="hf-stack">
      <PageHead title="Fleet" />
      {devices.total === 0 ? <Empty /> : workloads.total === 0 && <NothingRuns />}
      <div className="hf-numbers">
        <Count of={devices.total} word="devices" to="/devices" search={{}} />
        <Count of={devices.online} word="online" tone="good" search={{ connection: "online" }} />
        <Count of={devices.offline} word="offline" tone="bad" search={{ connection: "offline" }} />
        {devices.neverSeen > 0 && <Count of={devices.neverSeen} word="never seen" tone="bad" search={{ connection: "never-seen" }} />}
        <Count of={devices.pending} word="waiting" tone="warn" to="/enrolment" search={{}} />
        {devices.revoked > 0 && <Count of={devices.revoked} word="revoked" search={{ connection: "revoked" }} />}
        <Count of={workloads.healthy} word="workloads healthy" tone="good" to="/workloads" search={{}} />
        {workloads.progressing > 0 && <Count of={workloads.progressing} word="workloads progressing" to="/workloads" search={{}} />}
        {workloads.unknown > 0 && <Count of={workloads.unknown} word="workloads unknown" to="/workloads" search={{}} />}
        <Count of={workloads.failing} word="workloads failing" tone="bad" to="/workloads" search={{}} />
      </div>
      <div className="hf-grid">
        <Card title="Needs a person">
          {data.attention.length === 0 ? (
            <p>{devices.total === 0 ? "Nothing yet." : data.settled ? `Nothing: ${data.summary}.` : `Nothing that is urgent: ${data.summary}.`}</p>
          ) : (
            <ul className="hf-list">
              {data.attention.map((item, index) => (
                <li key={index} className="hf-stack hf-tight">
                  <span className="hf-row hf-attention">
                    <State tone={SEVERITIES[item.severity] ?? "idle"}>{item.severity}</State>
                    <PageLink to={item.kind === "waiting" ? "/enrolment" : "/devices"} search={toSearch(item.query)}>{item.message}</PageLink>
                  </span>
                  <span className="hf-kind">{count(item.count, "device")}: {some(item.devices, item.count)}</span>
                </li>
              ))}
            </ul>
          )}
          {data.moreAttention > 0 && <p className="hf-kind">and {data.moreAttention.toLocaleString("en")} more, less urgent</p>}
        </Card>
        <Changes live={live} />
      </div>
      <Sites sites={data.sites} more={data.moreSites} />
    </div>
  );
}

/** The server names the API's parameters; the table's address has the same, but for the selector. */
function toSearch(query: Record<string, unknown>): Record<string, string> {
  return Object.fromEntries(Object.entries(query).map(([key, value]) => [key === "labelSelector" ? "labels" : key, String(value)]));
}

function Count({ of, word, tone = "idle", to = "/devices", search }: { of: number; word: string; tone?: Tone; to?: string; search: Record<string, string> }) {
  return (
    <PageLink to={to} search={search} className={`hf-card hf-number-card ${of > 0 && tone !== "idle" ? `hf-count-${tone}` : ""}`}>
      <b>{of.toLocaleString("en")}</b>
      {word}
    </PageLink>
  );
}

function Empty() {
  return (
    <Notice tone="move" title="No device yet">
      The next step: <PageLink to="/enrolment" search={{ new: "token" }}>make an enrolment token</PageLink> and paste the line that comes with it on a device. It appears here by itself.
    </Notice>
  );
}

function NothingRuns() {
  return (
    <Notice tone="move" title="No workload yet">
      The next step: <PageLink to="/apply">apply a workload</PageLink>. The editor has an example to begin with.
    </Notice>
  );
}
