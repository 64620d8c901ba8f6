// A device's streams: what came of each, and what the device says of its link, its buffer and its
// horizon.
import { Button, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import * as read from "../../api/queries";
import { policyAt } from "../../lib/policies";
import { numbers, readable, short } from "../../lib/records";
import { PAGE, problemOf, sorted, waitingOf } from "../../lib/streams";
import { bytes, count } from "../../lib/words";
import { Card } from "../../ui/Card";
import { Figures } from "../../ui/Figures";
import { Horizon, type HorizonOf } from "../../ui/Horizon";
import { Icon } from "../../ui/icons";
import { LinkBudget } from "../../ui/Link";
import { Loading } from "../../ui/Loading";
import { Failed } from "../../ui/Notice";
import { PageLink } from "../../ui/PageLink";
import { Sparkline } from "../../ui/Sparkline";
import { State } from "../../ui/State";
import { StreamChart } from "../../ui/StreamChart";
import { Time } from "../../ui/Time";
import { useSearch } from "../../ui/useSearch";

/** What a device reports of its data; each part may be absent. */
interface Said {
  storage?: { used: number; quota: number; written: number; life_years_hundredths?: number };
  horizon?: HorizonOf;
}

/** Streams from which on there is a search. */
const MANY = 8;

const policyOf = (reported: unknown) => (reported as { policy?: string } | null | undefined)?.policy;

export function Streams({ name }: { name: string }) {
  const [search, setSearch] = useSearch();
  const [most, setMost] = useState(PAGE);
  const { data, error, refetch } = useQuery(read.deviceStreams(name));
  const items = useMemo(() => sorted(data?.items ?? [], search.q ?? ""), [data, search.q]);
  const shown = items.slice(0, most);
  const lines = shown.flatMap(({ stream, latest }) => {
    const field = numbers(latest)[0];
    return field === undefined || /[\t\n]/.test(field) ? [] : [[stream, field] as const];
  });
  const drawn = useQuery(read.sparklines(name, lines));
  if (!data) return error ? <Failed error={error} what="The streams could not be read" retry={() => void refetch()} /> : <Loading />;
  const said = (data.data ?? {}) as Said;
  const chosen = data.items.find(({ stream }) => stream === search.stream);
  const line = new Map((drawn.data?.items ?? []).map(({ stream, values }) => [stream, values]));
  const ailing = data.items.filter((item) => problemOf(item) !== "").length;
  // A column that says nothing of any stream is left out.
  const has = { line: lines.length > 0, policy: shown.some(({ byPolicy }) => (byPolicy ?? 0) > 0), missing: shown.some(({ missing }) => missing > 0), waiting: shown.some((item) => waitingOf(item) !== undefined) };
  return (
    <div className="hf-stack">
      {chosen && <StreamChart key={chosen.stream} device={name} stream={chosen.stream} latest={chosen.latest} />}
      <Card title="Streams" aside={<span className="hf-kind">{data.items.length > 0 && count(data.items.length, "stream")}{ailing > 0 && `, ${ailing} with a problem`}</span>}>
        {data.items.length > MANY && <TextInput aria-label="Find a stream" placeholder="Part of a stream's name" leftSection={<Icon name="search" />} value={search.q ?? ""} onChange={(event) => { setMost(PAGE); setSearch({ q: event.currentTarget.value || undefined }); }} spellCheck={false} autoComplete="off" maw={320} />}
        {data.items.length === 0 ? <p>It has no stream yet: nothing was published on it.</p> : items.length === 0 ? <p>No stream has this in its name.</p> : (
          <table className="hf-table hf-folds hf-streams">
            <thead><tr><th>Stream</th><th>Latest</th><th>When</th>{has.line && <th>Last hour</th>}<th className="hf-number">Received</th>{has.policy && <th className="hf-number" title="Held back by policy: no loss, on the device">By policy</th>}{has.missing && <th className="hf-number">Missing</th>}{has.waiting && <th className="hf-number" title="On the device, to be shipped">Waiting</th>}</tr></thead>
            <tbody>
              {shown.map((item) => (
                <tr key={item.stream}>
                  <td data-label="Stream" className="hf-s-name">
                    <span className="hf-stack hf-tight">
                      <button type="button" className="hf-fault hf-mono" aria-expanded={item.stream === chosen?.stream} onClick={() => setSearch({ stream: item.stream === chosen?.stream ? undefined : item.stream, field: undefined, over: undefined, view: undefined, find: undefined })}>{item.stream}</button>
                      {problemOf(item) !== "" && <span><State tone="warn">{problemOf(item)}</State> {policyOf(item.reported) && <PageLink to={policyAt("streams", policyOf(item.reported) ?? "")}>{policyOf(item.reported)}</PageLink>}</span>}
                    </span>
                  </td>
                  <td data-label="Latest" className="hf-s-wide"><span className="hf-mono">{item.latest === undefined || item.latest === null ? <span className="hf-kind">{item.last ? "long: open the stream" : "nothing here yet"}</span> : short(readable(item.latest), 40)}</span></td>
                  <td data-label="When"><Time at={item.last?.time} /></td>
                  {has.line && <td data-label="Last hour" className="hf-s-more">{line.has(item.stream) ? <Sparkline of={line.get(item.stream)} what={item.stream} /> : <span className="hf-kind" title="Its records hold no number">–</span>}</td>}
                  <td data-label="Received" className="hf-number hf-s-more">{item.received.toLocaleString("en")}</td>
                  {has.policy && <td data-label="By policy" className="hf-number hf-s-more"><span className="hf-kind">{(item.byPolicy ?? 0).toLocaleString("en")}</span></td>}
                  {has.missing && <td data-label="Missing" className="hf-number hf-s-more">{item.missing.toLocaleString("en")}</td>}
                  {has.waiting && <td data-label="Waiting" className="hf-number hf-s-more">{waitingOf(item)?.toLocaleString("en") ?? "–"}</td>}
                </tr>
              ))}
            </tbody>
          </table>
        )}
        {items.length > shown.length && <div className="hf-row"><Button size="xs" variant="default" onClick={() => setMost(most + PAGE)}>Show {Math.min(PAGE, items.length - shown.length)} more</Button><span className="hf-kind">{shown.length} of {items.length}; those with problems and losses come first</span></div>}
      </Card>
      <Figures device={name} />
      <div className="hf-grid">
        <Card title="Horizon"><Horizon of={said.horizon} /></Card>
        <Card title="Buffer">
          {said.storage && said.storage.quota > 0 ? (
            <dl className="hf-facts">
              <dt>In use</dt><dd>{bytes(said.storage.used)} of {bytes(said.storage.quota)}</dd>
              <dt>Written</dt><dd>{bytes(said.storage.written)} to flash since it was made</dd>
              {said.storage.life_years_hundredths !== undefined && <><dt>Flash lasts</dt><dd>{(said.storage.life_years_hundredths / 100).toFixed(1)} years at this rate</dd></>}
            </dl>
          ) : <p>The device has not said how full its buffer is.</p>}
        </Card>
      </div>
      <Card title="Link budget"><LinkBudget of={data.link} /></Card>
    </div>
  );
}
