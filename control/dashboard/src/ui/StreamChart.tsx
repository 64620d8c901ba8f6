// A stream's numbers over time, its gaps among them, and its ledger.
import { Button, Select } from "@mantine/core";
import { useQueries, useQuery } from "@tanstack/react-query";
import { Suspense, useMemo } from "react";
import * as read from "../api/queries";
import { numbers } from "../lib/records";
import { count } from "../lib/words";
import { Card } from "./Card";
import { later } from "./later";
import { Loading } from "./Loading";
import { Failed, Notice } from "./Notice";
import { useSearch } from "./useSearch";

const Chart = later(() => import("./Chart"));

const SPANS = [
  { value: "1h", label: "last hour", seconds: 3_600 },
  { value: "24h", label: "last day", seconds: 86_400 },
  { value: "7d", label: "last 7 days", seconds: 7 * 86_400 },
  { value: "30d", label: "last 30 days", seconds: 30 * 86_400 },
];
const SPAN = "1h";

/** Gaps that are looked up in time, the newest. */
const GAPS = 10;
/** Ranges of the ledger that are listed, the newest. */
const RANGES = 50;

const REASONS: Record<string, string> = {
  expired: "older than its ttl before it could be shipped",
  quota: "no room was left in the device's buffer",
  thinned: "thinned out by its policy",
  reduced: "its changes or windows stand for it; on the device, can be fetched",
  withheld: "not shipped by its policy; on the device, can be fetched",
  damaged: "the device's buffer or the control plane's disk was damaged",
  "disk-full": "the device's disk took nothing",
  unknown: "not received yet, and nothing was said of it",
};

const at = (device: string, stream: string, what: string) => `/api/v1/devices/${encodeURIComponent(device)}/streams/${encodeURIComponent(stream)}/${what}`;

export function StreamChart({ device, stream, latest }: { device: string; stream: string; latest: unknown }) {
  const [search, setSearch] = useSearch();
  const fields = numbers(latest);
  const field = fields.includes(search.field ?? "") ? (search.field ?? "") : (fields[0] ?? search.field ?? "");
  const span = SPANS.some(({ value }) => value === search.span) ? (search.span ?? SPAN) : SPAN;
  return (
    <Card title={stream} aside={<Button component="a" size="xs" variant="default" href={`${at(device, stream, "export.parquet")}?since=${span}`} download>Export as Parquet</Button>}>
      <div className="hf-row hf-pair">
        <Select label="Time" data={SPANS.map(({ value, label }) => ({ value, label }))} value={span} onChange={(value) => setSearch({ span: value === SPAN ? undefined : (value ?? undefined) })} allowDeselect={false} maw={170} />
        {fields.length > 1 && <Select label="Field" data={fields.map((value) => ({ value, label: value || "the value itself" }))} value={field} onChange={(value) => setSearch({ field: value ?? undefined })} allowDeselect={false} maw={220} />}
      </div>
      <Lines device={device} stream={stream} field={field} span={span} />
      <Ledger device={device} stream={stream} />
    </Card>
  );
}

function Lines({ device, stream, field, span }: { device: string; stream: string; field: string; span: string }) {
  const { data, error, refetch, dataUpdatedAt } = useQuery(read.series(device, stream, field, span));
  const to = dataUpdatedAt / 1000;
  const from = to - (SPANS.find(({ value }) => value === span)?.seconds ?? 3_600);
  const known = useQuery(read.ledger(device, stream));
  const newest = (known.data?.missing ?? []).slice(-GAPS);
  const gaps = useQueries({ queries: newest.map(({ from, to }) => read.gapTime(device, stream, from, to)), combine: (all) => all.flatMap((one) => (one.data?.from === undefined ? [] : [{ from: one.data.from, to: one.data.to }])) });
  const lines = useMemo(() => {
    const points = data?.points ?? [];
    const line = (label: string, pick: (point: (typeof points)[number]) => number) => ({ label, points: points.map((point) => [Date.parse(point.time) / 1000, pick(point)] as const) });
    return points.every(({ count }) => count === 1) ? [line("value", ({ mean }) => mean)] : [line("mean", ({ mean }) => mean), line("least", ({ min }) => min), line("greatest", ({ max }) => max)];
  }, [data]);
  const shades = useMemo(() => JSON.parse(JSON.stringify(gaps)) as typeof gaps, [JSON.stringify(gaps)]); // eslint-disable-line react-hooks/exhaustive-deps -- its content counts
  if (!data) return error ? <Failed error={error} what="The numbers could not be read" retry={() => void refetch()} /> : <Loading rows={4} />;
  if (data.points.length === 0) return <Notice tone="idle" title="No number in this time">Records without a number at this place are in the export all the same.</Notice>;
  return (
    <>
      <Suspense fallback={<Loading rows={6} />}><Chart lines={lines} shades={shades} from={from} to={to} label={`Chart of ${field || "the value"} of ${stream}; the export holds the same`} /></Suspense>
      {shades.length > 0 && <span className="hf-kind">Shaded: where records are missing{newest.length === GAPS ? `, the newest ${GAPS} gaps` : ""}.</span>}
    </>
  );
}

function Ledger({ device, stream }: { device: string; stream: string }) {
  const { data, error, refetch } = useQuery(read.ledger(device, stream));
  if (!data) return error ? <Failed error={error} what="The ledger could not be read" retry={() => void refetch()} /> : <Loading rows={2} />;
  const sum = (counts: Record<string, number> | undefined) => Object.values(counts ?? {}).reduce((sum, one) => sum + one, 0);
  const missing = sum(data.missingCount);
  const byPolicy = sum(data.byPolicyCount);
  const ranges = [...data.missing].reverse().slice(0, RANGES);
  return (
    <section className="hf-stack hf-tight" aria-label={`Ledger of ${stream}`}>
      <span>{count(data.received, "record")} received, {data.duplicates.toLocaleString("en")} of them again, {data.late.toLocaleString("en")} late; {missing.toLocaleString("en")} missing{data.metadata?.continue ? " (the list below begins with the oldest part of them)" : ""}.</span>
      {byPolicy > 0 && <span className="hf-kind">{count(byPolicy, "record")} held back by policy: no loss, they are on the device as long as its buffer holds them.</span>}
      {data.note && <span className="hf-kind">{data.note}</span>}
      {ranges.length > 0 && (
        <table className="hf-table hf-folds">
          <thead><tr><th>From</th><th>To</th><th className="hf-number">Records</th><th>Why</th></tr></thead>
          <tbody>
            {ranges.map(({ from, to, reason }) => (
              <tr key={`${from} ${to}`}>
                <td data-label="From">{from}</td>
                <td data-label="To">{to}</td>
                <td data-label="Records" className="hf-number">{(to - from + 1).toLocaleString("en")}</td>
                <td data-label="Why"><span><strong>{reason}</strong> <span className="hf-kind">{REASONS[reason] ?? ""}</span></span></td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {data.summedBelow && <span className="hf-kind">Below {data.summedBelow.toLocaleString("en")} not every range is kept: {Object.entries(data.summed ?? {}).map(([reason, many]) => `${many.toLocaleString("en")} ${reason}`).join(", ") || "none is missing"}.</span>}
      {data.missing.length > RANGES && <span className="hf-kind">the newest {RANGES} of {count(data.missing.length, "range")}; the API and the command line give all</span>}
    </section>
  );
}
