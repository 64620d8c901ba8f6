// A stream: its numbers over time beside those of others, its records as they are, and its ledger.
import { SegmentedControl } from "@mantine/core";
import { useInfiniteQuery } from "@tanstack/react-query";
import * as read from "../api/queries";
import { rangeOf } from "../lib/range";
import { numbers } from "../lib/records";
import { Card } from "./Card";
import { Ledger } from "./Ledger";
import { Records } from "./Records";
import { Choices, StreamLines } from "./StreamLines";
import { StreamTime } from "./StreamTime";
import { useSearch } from "./useSearch";
import { ActLink } from "./rights";

const at = (device: string, stream: string, what: string) => `/api/v1/devices/${encodeURIComponent(device)}/streams/${encodeURIComponent(stream)}/${what}`;

export function StreamChart({ device, stream, latest }: { device: string; stream: string; latest: unknown }) {
  const [search, setSearch] = useSearch();
  // A long record is not in the list: its fields are those of the newest.
  const newest = useInfiniteQuery({ ...read.records(device, stream, {}, "", 1), enabled: latest === undefined || latest === null });
  const fields = numbers(latest ?? newest.data?.pages[0]?.items[0]?.value);
  const field = fields.includes(search.field ?? "") ? (search.field ?? "") : (fields[0] ?? search.field ?? "");
  const isKnown = fields.length > 0 || (latest !== undefined && latest !== null) || newest.data !== undefined || newest.error !== null;
  const shown = search.view === "records" || (search.view !== "chart" && isKnown && fields.length === 0) ? "records" : "chart";
  const range = rangeOf(search, Date.now());
  const query = new URLSearchParams({ since: range.since, ...(range.until ? { until: range.until } : {}) });
  return (
    <Card title={stream} aside={<ActLink may="stream.export" size="xs" variant="default" href={`${at(device, stream, "export.parquet")}?${query.toString()}`} download>Export as Parquet</ActLink>}>
      <div className="hf-row hf-bottom">
        <SegmentedControl size="xs" value={shown} onChange={(view) => setSearch({ view })} data={[{ value: "chart", label: "Chart" }, { value: "records", label: "Records" }]} aria-label="How the stream is shown" />
        <StreamTime />
        {shown === "chart" && <Choices first={{ device, stream, field }} fields={fields} />}
      </div>
      {shown === "chart" ? <StreamLines first={{ device, stream, field }} isText={isKnown && fields.length === 0} /> : <Records device={device} stream={stream} />}
      <Ledger device={device} stream={stream} />
    </Card>
  );
}
