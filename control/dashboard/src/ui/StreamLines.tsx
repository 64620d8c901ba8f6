// The lines of a chart: one number of a stream, and others beside it: further fields, and the same
// stream of other devices. A field of another name has an axis of its own on the right.
import { Button, MultiSelect, Select } from "@mantine/core";
import { useQueries, useQuery } from "@tanstack/react-query";
import { Suspense, useMemo } from "react";
import { reason } from "../api/client";
import * as read from "../api/queries";
import { lineName, MOST, overlayOf, overlayText, same, written, type LineRef } from "../lib/overlay";
import { rangeOf } from "../lib/range";
import { folded } from "../lib/records";
import { later } from "./later";
import { Loading } from "./Loading";
import { Failed, Notice } from "./Notice";
import { useSearch } from "./useSearch";

const Chart = later(() => import("./Chart"));

/** Other devices with the same stream that can be chosen. */
const OTHERS = 200;

export function Choices({ first, fields }: { first: LineRef; fields: readonly string[] }) {
  const [search, setSearch] = useSearch();
  const over = overlayOf(search.over);
  const others = useQuery(read.streams(first.stream, "", OTHERS));
  const lines: LineRef[] = [
    ...fields.filter((field) => field !== first.field).map((field) => ({ ...first, field })),
    ...(others.data?.items ?? []).filter(({ device, stream }) => stream === first.stream && device !== first.device).map(({ device, stream }) => ({ device, stream, field: first.field })),
  ];
  for (const line of over) if (!lines.some((other) => same(other, line))) lines.push(line);
  return (
    <>
      {fields.length > 1 && <Select label="Field" data={fields.map((value) => ({ value, label: value || "the value itself" }))} value={first.field} onChange={(value) => setSearch({ field: value ?? undefined })} allowDeselect={false} maw={220} />}
      {lines.length > 0 && (
        <MultiSelect
          label="Beside it"
          placeholder={over.length === 0 ? "A field or a device" : ""}
          data={lines.map((line) => ({ value: written(line), label: lineName(line, first) }))}
          value={over.map(written)}
          onChange={(chosen) => setSearch({ over: overlayText(chosen.flatMap(overlayOf)) })}
          maxValues={MOST}
          searchable
          clearable
          hidePickedOptions
          className="hf-grow"
          maw={420}
        />
      )}
    </>
  );
}

export function StreamLines({ first, isText }: { first: LineRef; isText: boolean }) {
  const [search, setSearch] = useSearch();
  const over = overlayOf(search.over).filter((line) => !same(line, first));
  const all = [first, ...over];
  const range = rangeOf(search, Date.now());
  const asked = useQueries({ queries: all.map(({ device, stream, field }) => read.series(device, stream, field, range)) });
  const [main] = asked;
  const gaps = useQuery(read.ledger(first.device, first.stream)).data?.missing;
  const key = JSON.stringify([all, asked.map(({ dataUpdatedAt }) => dataUpdatedAt), search.from, search.to, search.span]);
  const drawn = useMemo(() => {
    const to = range.until === undefined ? (asked[0]?.dataUpdatedAt ?? Date.now()) / 1000 : Date.parse(range.until) / 1000;
    const lines = all.flatMap((line, index) => {
      const points = asked[index]?.data?.points ?? [];
      // What tells the lines apart.
      const name = all.length > 1 ? [all.some(({ device }) => device !== first.device) ? line.device : "", line.field].filter(Boolean).join(" ") || "value" : "";
      return folded(points, name, all.length > 1, line.field !== first.field);
    });
    return { lines, from: to - range.seconds, to };
  }, [key]); // eslint-disable-line react-hooks/exhaustive-deps -- the key holds all of it
  const shades = useMemo(
    () => (gaps ?? []).flatMap(({ since, until }) => {
      const [from, to] = [since ?? until, until ?? undefined];
      return from ? [{ from: Date.parse(from) / 1000, to: to ? Date.parse(to) / 1000 : Date.now() / 1000 }] : [];
    }),
    [gaps],
  );
  const choose = (from: number, to: number) => setSearch({ from: new Date(from * 1000).toISOString(), to: new Date(to * 1000).toISOString() });
  if (!main?.data) return main?.error ? <Failed error={main.error} what="The numbers could not be read" retry={() => void main.refetch()} /> : <Loading rows={4} />;
  const visible = shades.filter(({ from, to }) => to >= drawn.from && from <= drawn.to);
  const failed = asked.slice(1).find(({ error, data }) => error && !data);
  const isEmpty = drawn.lines.every(({ points }) => points.length === 0);
  return (
    <>
      {failed?.error && <Notice tone="warn" title="A line beside it could not be read">{reason(failed.error)}</Notice>}
      {isEmpty ? (
        <Notice tone="idle" title={isText ? "These records are no numbers" : "No number in this time"}>
          <div className="hf-row hf-spread"><span>{isText ? "They can be read and searched as they are." : "There may be records without a number at this place."}</span><Button size="xs" variant="default" onClick={() => setSearch({ view: "records" })}>Show the records</Button></div>
        </Notice>
      ) : (
        <Suspense fallback={<Loading rows={6} />}><Chart lines={drawn.lines} shades={visible} from={drawn.from} to={drawn.to} chosen={choose} label={`Chart of ${all.map((line) => `${line.field || "the value"} of ${line.stream} of ${line.device}`).join(", ")}; the records and the export hold the same`} /></Suspense>
      )}
      {visible.length > 0 && !isEmpty && <span className="hf-kind">Shaded: where records are missing. What a policy holds back is not shaded: it is on the device.</span>}
    </>
  );
}
