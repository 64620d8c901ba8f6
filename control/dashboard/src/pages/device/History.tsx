// What happened to the device: a chart of its presence, and its timeline, found by kind, workload and
// time.
import { Button, Select } from "@mantine/core";
import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import * as read from "../../api/queries";
import type { TimelineEvent } from "../../api/types";
import { range, without } from "../../lib/activity";
import { Card } from "../../ui/Card";
import { later } from "../../ui/later";
import { Loading } from "../../ui/Loading";
import { Failed } from "../../ui/Notice";
import { PageLink, workloadAt } from "../../ui/PageLink";
import { State, type Tone } from "../../ui/State";
import { TimeRange } from "../../ui/TimeRange";
import { useSearch } from "../../ui/useSearch";
import { When } from "../../ui/When";

const Presence = later(() => import("./Presence"));

const KINDS = { connection: "Connections", "phase,restart": "Phases and restarts", restart: "Restarts", "revision,generation": "Revisions", problem: "Problems" };

export function History({ name, online, workloads }: { name: string; online: boolean; workloads: readonly string[] }) {
  const [search, setSearch] = useSearch();
  const links = useQuery(read.connections(name));
  const asked = { ...(search.kind ? { kind: search.kind } : {}), ...(search.workload ? { workload: search.workload } : {}), ...range(search) };
  const found = useInfiniteQuery(read.timeline(name, asked));
  // Where comings and goings are counted, the chart has the last of them.
  const presence = useMemo(() => (links.data?.items ?? []).map(({ at, until, event }) => ({ at: until ?? at, event })), [links.data]);
  const items = found.data?.pages.flatMap((page) => page.items) ?? [];
  const narrowed = Object.keys(asked).length > 0;
  return (
    <div className="hf-stack">
      {links.data && links.data.items.length > 0 && (
        <Card title="Link and presence"><Presence events={presence} online={online} /></Card>
      )}
      <Card title="Timeline" aside={<span className="hf-kind">times of the control plane&apos;s clock, at receipt</span>}>
        <div className="hf-row hf-filters">
          <Select aria-label="Kind" placeholder="Everything" data={Object.entries(KINDS).map(([value, label]) => ({ value, label }))} value={search.kind ?? null} onChange={(kind) => setSearch({ kind: kind ?? undefined })} clearable clearButtonProps={{ "aria-label": "Everything" }} />
          <Select aria-label="Workload" placeholder="Any workload" data={[...new Set([...workloads, ...(search.workload ? [search.workload] : [])])]} value={search.workload ?? null} onChange={(workload) => setSearch({ workload: workload ?? undefined })} searchable clearable clearButtonProps={{ "aria-label": "Any workload" }} />
          <TimeRange search={search} set={setSearch} />
        </div>
        {!found.data && (found.error ? <Failed error={found.error} what="The timeline could not be read" retry={() => void found.refetch()} /> : <Loading />)}
        {found.data && items.length === 0 && <p>{narrowed ? "Nothing of that is known." : "It was never connected."}</p>}
        {items.length > 0 && (
          <table className="hf-table hf-folds hf-activity">
            <thead><tr><th>When</th><th>What</th><th>Workload</th><th>Details</th></tr></thead>
            <tbody>{items.map((item) => <Row key={item.number} of={item} />)}</tbody>
          </table>
        )}
        {found.hasNextPage && <Button variant="default" size="xs" loading={found.isFetchingNextPage} onClick={() => void found.fetchNextPage()}>Older</Button>}
      </Card>
    </div>
  );
}

const WORD: Record<string, string> = { phase: "phase", restart: "restart", revision: "revision", generation: "desired state", more: "more" };
const FAILING = new Set(["backoff", "failed", "unhealthy"]);

function tone({ kind, event, to }: TimelineEvent): Tone {
  if (kind === "connection") return event === "connected" ? "good" : "bad";
  if (kind === "problem") return event === "began" ? "bad" : "good";
  if (to && FAILING.has(to)) return "bad";
  if (kind === "restart") return "warn";
  return to === "running" ? "good" : kind === "phase" ? "idle" : "move";
}

function Row({ of }: { of: TimelineEvent }) {
  const word = of.kind === "connection" ? of.event : of.kind === "problem" ? `problem ${of.event}` : of.event === "gone" ? "removed" : (WORD[of.kind] ?? of.kind);
  return (
    <tr>
      <td data-label="When"><When at={of.at} until={of.until} /></td>
      <td data-label="What"><State tone={tone(of)}>{word}</State></td>
      <td data-label="Workload">{of.workload && <PageLink to={workloadAt(of.workload)}>{of.workload}</PageLink>}</td>
      <td data-label="Details">
        <span>
          {without(of.workload, of.message)}
          {of.workload && of.kind === "revision" && <> <PageLink to={workloadAt(of.workload)} search={revisions(of)}>Difference</PageLink></>}
        </span>
      </td>
    </tr>
  );
}

function revisions({ from, to }: TimelineEvent): Record<string, string | undefined> {
  return { tab: "revisions", from: from ?? undefined, to: to ?? undefined };
}
