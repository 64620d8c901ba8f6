// What of a stream came, what is lost, and what a policy holds back on the device, which can be
// fetched.
import { Button } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { fetchRecords } from "../api/actions";
import { reason } from "../api/client";
import * as read from "../api/queries";
import { queries } from "../api/query-client";
import { bytes, count } from "../lib/words";
import { Loading } from "./Loading";
import { Failed, Notice } from "./Notice";
import { Time } from "./Time";
import { Words } from "./Words";
import { ActButton } from "./rights";

/** Ranges that are listed at first, the newest; on demand; and looked at while a fetch is under way. */
const RANGES = 50;
const MOST = 2_000;
const WATCHED = 2_000;
/** While records are fetched their arrival is looked for so often, in milliseconds; else seldom. */
const SOON = 2_000;
const SELDOM = 30_000;

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

interface Range {
  from: number;
  to: number;
  reason: string;
  since?: string | null | undefined;
  until?: string | null | undefined;
}

const sum = (counts: Record<string, number> | undefined) => Object.values(counts ?? {}).reduce((sum, one) => sum + one, 0);
const held = (ranges: readonly Range[], from: number, to: number) => ranges.reduce((sum, range) => sum + Math.max(0, Math.min(range.to, to) - Math.max(range.from, from) + 1), 0);

export function Ledger({ device, stream }: { device: string; stream: string }) {
  const [most, setMost] = useState(RANGES);
  const { data, error, refetch, isFetching } = useQuery({ ...read.ledger(device, stream, "missing", most), placeholderData: (before) => before });
  // What became of a fetch stays to be read when nothing is held back any more.
  const [asked, setAsked] = useState(false);
  if (!data) return error ? <Failed error={error} what="The ledger could not be read" retry={() => void refetch()} /> : <Loading rows={2} />;
  const [missing, byPolicy] = [sum(data.missingCount), sum(data.byPolicyCount)];
  return (
    <section className="hf-stack hf-tight" aria-label={`Ledger of ${stream}`}>
      <span>{count(data.received, "record")} received, {data.duplicates.toLocaleString("en")} of them again, {data.late.toLocaleString("en")} late; {missing === 0 ? "none missing" : <strong>{missing.toLocaleString("en")} missing</strong>}.</span>
      {data.note && <span className="hf-kind"><Words>{data.note.replace(/`/g, "")}</Words></span>}
      {data.missing.length > 0 && <Gaps of={data.missing} label={`What of ${stream} is missing`} />}
      {data.metadata?.continue && <More shown={data.missing.length} most={most} more={setMost} busy={isFetching} what="gap" />}
      {data.summedBelow && <span className="hf-kind">Below number {data.summedBelow.toLocaleString("en")} not every range is kept: {Object.entries(data.summed ?? {}).map(([reason, many]) => `${many.toLocaleString("en")} ${reason}`).join(", ") || "none is missing"}.</span>}
      {(byPolicy > 0 || asked) && <HeldBack device={device} stream={stream} total={byPolicy} asked={() => setAsked(true)} />}
    </section>
  );
}

/** The newest ranges stand there; older ones are asked for. */
function More({ shown, most, more, busy, what }: { shown: number; most: number; more: (most: number) => void; busy: boolean; what: string }) {
  return (
    <div className="hf-row">
      <span className="hf-kind">The newest {count(shown, what)}.</span>
      {most < MOST && <Button size="compact-xs" variant="default" loading={busy} onClick={() => more(Math.min(most * 4, MOST))}>Older {what}s</Button>}
    </div>
  );
}

function Gaps({ of, label, act }: { of: readonly Range[]; label: string; act?: (range: Range) => React.ReactNode }) {
  return (
    <table className="hf-table hf-folds" aria-label={label}>
      <thead><tr><th>Between</th><th>And</th><th className="hf-number">Records</th><th>Numbers</th><th>Why</th>{act && <th><span className="hf-hidden">Fetch</span></th>}</tr></thead>
      <tbody>
        {of.map((range) => (
          <tr key={`${range.from} ${range.to}`}>
            <td data-label="Between"><Time at={range.since} never="no record before" /></td>
            <td data-label="And"><Time at={range.until} never="no record since" /></td>
            <td data-label="Records" className="hf-number">{(range.to - range.from + 1).toLocaleString("en")}</td>
            <td data-label="Numbers" className="hf-kind">{range.from === range.to ? range.from : `${range.from} to ${range.to}`}</td>
            <td data-label="Why"><span><strong>{range.reason}</strong> <span className="hf-kind">{REASONS[range.reason] ?? ""}</span></span></td>
            {act && <td>{act(range)}</td>}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

type Fetching =
  | { kind: "idle" }
  | { kind: "asking" }
  | { kind: "failed"; why: string }
  | { kind: "coming"; records: number; bytes: number; waits: string | undefined; from: number; to: number; before: number };

/** The record at the end is within: `until` is before. */
const after = (moment: string) => new Date(Date.parse(moment) + 1).toISOString();

function HeldBack({ device, stream, total, asked }: { device: string; stream: string; total: number; asked: () => void }) {
  const [open, setOpen] = useState(false);
  const [most, setMost] = useState(RANGES);
  const [state, setState] = useState<Fetching>({ kind: "idle" });
  const isComing = state.kind === "coming";
  const { data, isFetching } = useQuery({ ...read.ledger(device, stream, "by-policy", isComing ? WATCHED : most, isComing ? SOON : SELDOM), enabled: open || isComing, placeholderData: (before) => before });
  const ranges = data?.byPolicy ?? [];
  const ask = async (range: Range | undefined) => {
    setState({ kind: "asking" });
    asked();
    try {
      const [from, to] = range ? [range.from, range.to] : [0, Number.MAX_SAFE_INTEGER];
      const before = range ? range.to - range.from + 1 : total;
      const { records, bytes, waits } = await fetchRecords(device, stream, { ...(range?.since ? { since: range.since } : {}), ...(range?.until ? { until: after(range.until) } : {}) });
      setState({ kind: "coming", records, bytes, waits: waits ?? undefined, from, to, before });
      await queries.invalidateQueries({ queryKey: ["device", device, "ledger", stream] });
    } catch (error) {
      setState({ kind: "failed", why: reason(error) });
    }
  };
  return (
    <div className="hf-stack hf-tight" role="group" aria-label={`What of ${stream} is held back`}>
      <div className="hf-row hf-spread">
        <span className="hf-kind">{total === 0 ? "Nothing is held back by policy now." : `${total.toLocaleString("en")} held back by policy (on the device): no loss.`}</span>
        <div className="hf-row">
          <Button size="compact-xs" variant="subtle" aria-expanded={open} onClick={() => setOpen(!open)}>{open ? "Hide them" : "Which"}</Button>
          <ActButton may="stream.fetch" device={device} size="xs" variant="default" loading={state.kind === "asking"} onClick={() => void ask(undefined)}>Fetch what was held back</ActButton>
        </div>
      </div>
      <div role="status" className="hf-stack hf-tight">
        {state.kind === "failed" && <Notice tone="bad" title="Not fetched"><Words>{state.why.replace(/`/g, "")}</Words></Notice>}
        {isComing && <Coming of={state} left={data ? held(ranges, state.from, state.to) : undefined} />}
      </div>
      {open && total > 0 && (ranges.length === 0 ? <Loading rows={2} /> : <Gaps of={ranges.slice(0, most)} label={`What of ${stream} a policy holds back`} act={(range) => <ActButton may="stream.fetch" device={device} size="compact-xs" variant="default" disabled={state.kind === "asking"} onClick={() => void ask(range)} aria-label={`Fetch records ${range.from} to ${range.to}`}>Fetch</ActButton>} />)}
      {open && (ranges.length > most || data?.metadata?.continue) && <More shown={Math.min(ranges.length, most)} most={most} more={setMost} busy={isFetching} what="range" />}
    </div>
  );
}

function Coming({ of, left }: { of: Extract<Fetching, { kind: "coming" }>; left: number | undefined }) {
  if (of.records === 0) return <Notice tone="idle" title="Nothing to fetch">The device holds no records of that time any more.</Notice>;
  const come = Math.max(0, of.before - (left ?? of.before));
  const done = left === 0;
  return (
    <Notice tone={done ? "good" : of.waits ? "warn" : "move"} title={done ? "Fetched" : of.waits ? "Asked for, and waits" : "Being fetched"}>
      {count(of.records, "record")} ({bytes(of.bytes)} on the device), at most 10 MiB at once. {come > 0 && <>{come.toLocaleString("en")} of {of.before.toLocaleString("en")} have arrived. </>}
      {of.waits && <Words>{of.waits.replace(/`/g, "")}</Words>}
    </Notice>
  );
}
