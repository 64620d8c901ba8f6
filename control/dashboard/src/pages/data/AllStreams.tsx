// The streams of all devices, found by name or label, and the chart of the one that is chosen.
import { TextInput } from "@mantine/core";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { reason, Refusal } from "../../api/client";
import * as read from "../../api/queries";
import { readable, short } from "../../lib/records";
import { bytes, count } from "../../lib/words";
import { Card } from "../../ui/Card";
import { Loading } from "../../ui/Loading";
import { Failed } from "../../ui/Notice";
import { deviceAt, PageLink } from "../../ui/PageLink";
import { SelectorInput } from "../../ui/SelectorInput";
import { StreamChart } from "../../ui/StreamChart";
import { Time } from "../../ui/Time";
import { useSearch } from "../../ui/useSearch";
import { ActLink } from "../../ui/rights";

/** Streams of the list; more are found by their names. */
const MOST = 100;

/** What was chosen of the stream before. */
const NOTHING = { field: undefined, over: undefined, view: undefined, find: undefined };

export function AllStreams() {
  const [search, setSearch] = useSearch();
  const [q, setQ] = useState(search.q ?? "");
  const labels = search.labels ?? "";
  const { data, error, refetch } = useQuery({ ...read.streams(search.q ?? "", labels, MOST), placeholderData: keepPreviousData });
  const refused = error instanceof Refusal && error.status === 400 ? reason(error) : undefined;
  const chosen = data?.items.find(({ device, stream }) => device === search.device && stream === search.stream);
  const names = [...new Set((data?.items ?? []).map(({ stream }) => stream))];
  const only = names.length === 1 ? names[0] : chosen?.stream;
  return (
    <div className="hf-stack">
      <div className="hf-row hf-filters">
        <form onSubmit={(event) => { event.preventDefault(); setSearch({ q: q.trim() || undefined }); }}>
          <TextInput aria-label="Stream or device" placeholder="Part of a stream's or a device's name" value={q} onChange={(event) => { setQ(event.currentTarget.value); setSearch({ q: event.currentTarget.value.trim() || undefined }); }} spellCheck={false} autoComplete="off" />
        </form>
        <SelectorInput value={labels} onChange={(value) => setSearch({ labels: value })} fault={refused} />
        {only && <ActLink may="stream.export-all" variant="default" href={`/api/v1/streams/${encodeURIComponent(only)}/export.parquet${labels ? `?labelSelector=${encodeURIComponent(labels)}` : ""}`} download>Export {short(only, 30)} of all as Parquet</ActLink>}
      </div>
      {search.device && search.stream && <StreamChart key={`${search.device} ${search.stream}`} device={search.device} stream={search.stream} latest={chosen?.latest} />}
      <Card title="Streams" aside={data && <span className="hf-kind">{data.metadata?.continue ? `the first ${MOST}` : count(data.items.length, "stream")}</span>}>
        {!data ? (error && !refused ? <Failed error={error} what="The streams could not be read" retry={() => void refetch()} /> : <Loading />) : data.items.length === 0 ? <p>{search.q || labels ? "No stream is like this." : "No device has published anything yet."}</p> : (
          <table className="hf-table hf-folds">
            <thead><tr><th>Device</th><th>Stream</th><th>Latest</th><th>When</th><th className="hf-number">Records here</th><th className="hf-number" title="Held back by policy: no loss, on the device">By policy</th><th className="hf-number" title="Lost">Missing</th></tr></thead>
            <tbody>
              {data.items.map((item) => (
                <tr key={`${item.device} ${item.stream}`}>
                  <td data-label="Device"><PageLink to={deviceAt(item.device)} search={{ tab: "streams", stream: item.stream }}>{item.device}</PageLink></td>
                  <td data-label="Stream"><button type="button" className="hf-fault hf-mono" aria-expanded={item === chosen} onClick={() => setSearch(item === chosen ? { device: undefined, stream: undefined, ...NOTHING } : { device: item.device, stream: item.stream, ...NOTHING })}>{item.stream}</button></td>
                  <td data-label="Latest"><span className="hf-mono">{item.latest === undefined || item.latest === null ? "" : short(readable(item.latest), 40)}</span></td>
                  <td data-label="When"><Time at={item.last?.time} /></td>
                  <td data-label="Records here" className="hf-number">{item.records.toLocaleString("en")} <span className="hf-kind">({bytes(item.bytes)})</span></td>
                  <td data-label="By policy" className="hf-number"><span className="hf-kind">{(item.byPolicy ?? 0).toLocaleString("en")}</span></td>
                  <td data-label="Missing" className="hf-number">{item.missing.toLocaleString("en")}</td>
                </tr>
              ))}
            </tbody>
          </table>
        )}
      </Card>
    </div>
  );
}
