// The fleet at a glance: whether all is well and since when not, counts that lead to what they count,
// what needs a person first, whether it gets better or worse, what changed lately, sites.
import { useQuery } from "@tanstack/react-query";
import { recent } from "../../api/events";
import * as read from "../../api/queries";
import { useStore } from "../../api/store";
import { Loading } from "../../ui/Loading";
import { Failed, Notice } from "../../ui/Notice";
import { PageHead } from "../../ui/PageHead";
import { PageLink } from "../../ui/PageLink";
import { State, type Tone } from "../../ui/State";
import { Attention } from "./Attention";
import { Changes } from "./Changes";
import { Sites } from "./Sites";
import { Trend } from "./Trend";

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
      <PageHead title="Fleet" aside={devices.total > 0 && <State tone={data.settled ? "good" : "warn"}>{data.summary}</State>} />
      {devices.total === 0 ? <Empty /> : workloads.total === 0 && <NothingRuns />}
      <div className="hf-counts">
        <div className="hf-numbers" role="group" aria-label="Devices">
          <Count of={devices.total} word="devices" search={{}} />
          <Count of={devices.online} word="online" tone="good" search={{ connection: "online" }} />
          <Count of={devices.unhealthy} word="unhealthy" tone="bad" search={{ health: "failing,problem", sort: "health" }} />
          <Count of={devices.offline} word="offline" tone="bad" search={{ connection: "offline", absence: "unexpected" }} />
          {devices.neverSeen > 0 && <Count of={devices.neverSeen} word="never seen" tone="bad" search={{ connection: "never-seen", absence: "unexpected" }} />}
          {devices.overdue > 0 && <Count of={devices.overdue} word="not heard in time" tone="warn" search={{ connection: "online", health: "unknown", sort: "heardAt" }} />}
          {devices.expectedAway > 0 && <Count of={devices.expectedAway} word="away as expected" search={{ absence: "expected" }} />}
          {devices.ignored > 0 && <Count of={devices.ignored} word="away, ignored" search={{ absence: "ignored" }} />}
          {devices.pending > 0 && <Count of={devices.pending} word="waiting" tone="warn" to="/enrolment" search={{}} />}
          {devices.revoked > 0 && <Count of={devices.revoked} word="revoked" search={{ connection: "revoked" }} />}
        </div>
        <div className="hf-numbers" role="group" aria-label="Workloads">
          <Count of={workloads.running} word="workloads running" tone="good" to="/workloads" search={{ state: "running" }} />
          {workloads.done > 0 && <Count of={workloads.done} word="workloads done" tone="good" to="/workloads" search={{ state: "done" }} />}
          <Count of={workloads.failing} word="workloads failing" tone="bad" to="/workloads" search={{ state: "failing" }} />
          {workloads.progressing > 0 && <Count of={workloads.progressing} word="workloads progressing" to="/workloads" search={{ state: "progressing" }} />}
          {workloads.unknown > 0 && <Count of={workloads.unknown} word="workloads unknown" to="/workloads" search={{ state: "unknown" }} />}
          {workloads.paused > 0 && <Count of={workloads.paused} word="workloads paused" to="/workloads" search={{ state: "paused" }} />}
          {workloads.unplaced > 0 && <Count of={workloads.unplaced} word="workloads on no device" to="/workloads" search={{ state: "unplaced" }} />}
        </div>
      </div>
      <div className="hf-fleet">
        <div className="hf-stack">
          <Attention of={data} />
          <Sites sites={data.sites} more={data.moreSites} />
        </div>
        <div className="hf-stack">
          {devices.total > 0 && <Trend now={devices} />}
          <Changes live={live} />
        </div>
      </div>
    </div>
  );
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
