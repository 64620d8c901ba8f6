// Records as they are: the newest first, only those in sight are drawn, older ones are read as one
// scrolls. A search looks at all records of the time, on the control plane.
import { Button, TextInput } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { useInfiniteQuery } from "@tanstack/react-query";
import { useVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useRef, useState } from "react";
import * as read from "../api/queries";
import { rangeOf } from "../lib/range";
import { readable } from "../lib/records";
import { exact } from "../lib/time";
import { count } from "../lib/words";
import { CopyButton } from "./Copy";
import { Icon } from "./icons";
import { Loading } from "./Loading";
import { Failed } from "./Notice";
import { Time } from "./Time";
import { useSearch } from "./useSearch";

const HIGH = 30;
/** A value's characters on its one line. */
const WIDE = 400;
/** A text between lines with the searched part marked. */
const clock = new Intl.DateTimeFormat(undefined, { month: "short", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3 });

interface Item {
  seq: number;
  time: string;
  value: unknown;
  form: string;
}

const shortened = (value: string) => (value.length > WIDE ? `${value.slice(0, WIDE)}…` : value);

export function Records({ device, stream }: { device: string; stream: string }) {
  const [search, setSearch] = useSearch();
  const [text, setText] = useState(search.find ?? "");
  const [q] = useDebouncedValue(text.trim(), 300);
  useEffect(() => { if (q !== (search.find ?? "")) setSearch({ find: q || undefined }); }, [q]); // eslint-disable-line react-hooks/exhaustive-deps -- what is typed goes into the address, not the other way
  const range = rangeOf(search, Date.now());
  const found = useInfiniteQuery({ ...read.records(device, stream, { since: range.since, until: range.until }, q), placeholderData: (before) => before });
  const items = (found.data?.pages ?? []).flatMap(({ items }) => items as Item[]);
  const searched = found.data?.pages.at(-1)?.metadata.searched;
  return (
    <section className="hf-stack hf-tight" aria-label={`Records of ${stream}`}>
      <div className="hf-row">
        <TextInput aria-label="Find in records" placeholder="Find in records" leftSection={<Icon name="search" />} value={text} onChange={(event) => setText(event.currentTarget.value)} spellCheck={false} autoComplete="off" className="hf-grow" maw={360} />
        <Button size="xs" variant="default" loading={found.isRefetching} onClick={() => void found.refetch()}>Read again</Button>
        <span className="hf-kind" role="status">
          {!found.data ? "" : q ? `${count(items.length, "record")} with this text` : `${count(items.length, "record")}`}{found.hasNextPage ? " so far" : ""}
          {q && searched && found.hasNextPage && <>; searched back to <Time at={searched} /></>}
        </span>
      </div>
      {!found.data ? (found.error ? <Failed error={found.error} what="The records could not be read" retry={() => void found.refetch()} /> : <Loading rows={6} />) : items.length === 0 && !found.hasNextPage ? (
        <p>{q ? "No record of this time has this text." : "No record in this time."}</p>
      ) : (
        <Rows items={items} more={found.hasNextPage} busy={found.isFetchingNextPage} next={() => void found.fetchNextPage()} label={`Records of ${stream}`} />
      )}
      {found.hasNextPage && <div><Button size="xs" variant="default" loading={found.isFetchingNextPage} onClick={() => void found.fetchNextPage()}>{q ? "Search further back" : "Older records"}</Button></div>}
    </section>
  );
}

function Rows({ items, more, busy, next, label }: { items: readonly Item[]; more: boolean; busy: boolean; next: () => void; label: string }) {
  const place = useRef<HTMLDivElement>(null);
  const [open, setOpen] = useState<ReadonlySet<number>>(new Set());
  const rows = useVirtualizer({ count: items.length, getScrollElement: () => place.current, estimateSize: () => HIGH, overscan: 12, getItemKey: (index) => items[index]?.seq ?? index });
  const shown = rows.getVirtualItems();
  const last = shown.at(-1)?.index ?? 0;
  useEffect(() => {
    if (more && !busy && items.length > 0 && last >= items.length - 20 && place.current && place.current.scrollTop > 0) next();
  }, [last, more, busy, items.length]); // eslint-disable-line react-hooks/exhaustive-deps -- `next` is new each time
  const toggle = (seq: number) => setOpen((before) => new Set(before.has(seq) ? [...before].filter((one) => one !== seq) : [...before, seq]));
  return (
    // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- it scrolls: the keyboard needs a way in
    <div className="hf-records" ref={place} tabIndex={0} role="table" aria-label={label} aria-rowcount={items.length + 1}>
      <div role="rowgroup" className="hf-records-head"><div role="row" className="hf-record"><span role="columnheader">Time</span><span role="columnheader">Number</span><span role="columnheader">Value</span></div></div>
      <div role="rowgroup" style={{ height: rows.getTotalSize(), position: "relative" }}>
        {shown.map(({ index, start, key }) => {
          const item = items[index];
          if (!item) return null;
          const value = readable(item.value);
          const isOpen = open.has(item.seq);
          return (
            <div key={key} ref={rows.measureElement} data-index={index} className="hf-record-place" style={{ transform: `translateY(${start}px)` }} role="row" aria-rowindex={index + 2}>
              <div className="hf-record" role="presentation">
                <span role="cell" className="hf-record-time"><time dateTime={item.time} title={`${exact(Date.parse(item.time))} (${item.time})`}>{clock.format(Date.parse(item.time))}</time></span>
                <span role="cell" className="hf-kind">{item.seq}</span>
                <span role="cell" className="hf-record-value">
                  <button type="button" className="hf-open hf-mono" aria-expanded={isOpen} onClick={() => toggle(item.seq)} aria-label={`Record ${item.seq}: ${shortened(value)}`}>{shortened(value)}</button>
                  {item.form !== "json" && item.form !== "" && <span className="hf-label">{item.form}</span>}
                </span>
              </div>
              {isOpen && (
                <div className="hf-record-open" role="cell">
                  <div className="hf-row hf-spread"><Time at={item.time} /><CopyButton text={readable(item.value, 2)} /></div>
                  <pre className="hf-code">{readable(item.value, 2)}</pre>
                </div>
              )}
            </div>
          );
        })}
      </div>
    </div>
  );
}
