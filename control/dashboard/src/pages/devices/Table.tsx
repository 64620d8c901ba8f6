// The table itself: one row high or one of 50,000, only what is seen is drawn and fetched. Columns
// are TanStack Table's, rows TanStack Virtual's, pages TanStack Query's.
import { useMediaQuery } from "@mantine/hooks";
import { useQueries } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { createColumnHelper, flexRender, getCoreRowModel, useReactTable, type Row } from "@tanstack/react-table";
import { useVirtualizer } from "@tanstack/react-virtual";
import { memo, useCallback, useMemo, useRef } from "react";
import * as read from "../../api/queries";
import type { Device } from "../../api/types";
import { deviceAt } from "../../ui/PageLink";
import { Connection, State } from "../../ui/State";
import { Time } from "../../ui/Time";
import { COLUMNS, type Column } from "./filter";

interface Props {
  filter: read.DeviceFilter;
  total: number;
  shown: readonly Column[];
  sort: string | undefined;
  setSort: (sort: string | undefined) => void;
  selected: ReadonlySet<string>;
  setSelected: (selected: ReadonlySet<string>) => void;
}

const HIGH = 40;
const HIGH_NARROW = 84;

const helper = createColumnHelper<Device>();
const cells: Record<Column, (device: Device) => React.ReactNode> = {
  connection: ({ status }) => <Connection of={status.connection} />,
  heardAt: ({ status }) => <Time at={status.heardAt} />,
  workloads: (device) => <Workloads of={device} />,
  problems: (device) => {
    const problems = problemsOf(device);
    return problems.length === 0 ? "–" : <span className="hf-bad-text" title={(device.status.problems ?? []).map((problem) => problem.message).join("\n")}>{problems.join(", ")}</span>;
  },
  labels: ({ metadata }) => <span className="hf-mono">{Object.entries(metadata.labels ?? {}).map(([key, value]) => `${key}=${value}`).join(" ")}</span>,
  certificate: ({ status }) => <Time at={status.certificateNotAfter} never="–" />,
  generation: ({ status }) => `${status.generation.applied}/${status.generation.desired}`,
  address: ({ status }) => <span className="hf-mono">{status.address ?? "–"}</span>,
  agent: ({ status }) => status.agent ?? "–",
  createdAt: ({ metadata }) => <Time at={metadata.createdAt} />,
};
const definitions = [
  helper.display({ id: "name", header: "Name", cell: ({ row }) => <a href={deviceAt(row.original.metadata.name)}>{row.original.metadata.name}</a> }),
  ...(Object.keys(COLUMNS) as Column[]).map((id) => helper.display({ id, header: COLUMNS[id].title, cell: ({ row }) => cells[id](row.original) })),
];

/** Workloads that run or are done, of those that it should run; of an offline device that is not known. */
function Workloads({ of: { desired = {}, status } }: { of: Device }) {
  const wanted = Object.keys(desired);
  if (wanted.length === 0) return "–";
  if (status.connection !== "online") return <State tone="idle">?/{wanted.length}</State>;
  const good = wanted.filter((name) => ["running", "done"].includes(status.workloads[name]?.state ?? "")).length;
  const text = `${good}/${wanted.length}`;
  const failing = status.health?.failing ?? [];
  if (failing.length > 0) return <span title={`Failing: ${failing.join(", ")}`}><State tone="bad">{text}</State></span>;
  return good === wanted.length ? text : <State tone="move">{text}</State>;
}

/** What is wrong: workloads that fail, then problems; of an offline device what was so when it was last heard. */
function problemsOf({ status }: Device): string[] {
  const failing = Object.entries(status.workloads).flatMap(([name, said]) => (said.state === "failing" ? [`${name} failing`] : said.lastState === "failing" ? [`${name} was failing`] : []));
  return [...failing, ...new Set((status.problems ?? []).map((problem) => problem.code))];
}

export function Table({ filter, total, shown, sort, setSort, selected, setSelected }: Props) {
  const narrow = useMediaQuery("(max-width: 47.99em)", false, { getInitialValueInEffect: false });
  const scroller = useRef<HTMLDivElement>(null);
  const navigate = useNavigate();
  const virtual = useVirtualizer({
    count: total,
    getScrollElement: () => scroller.current,
    estimateSize: () => (narrow ? HIGH_NARROW : HIGH),
    overscan: 8,
  });
  const items = virtual.getVirtualItems();
  const first = Math.floor((items[0]?.index ?? 0) / read.PAGE);
  const last = Math.floor((items.at(-1)?.index ?? 0) / read.PAGE);
  const wanted = useMemo(() => Array.from({ length: last - first + 1 }, (_, index) => first + index), [first, last]);
  const loaded = useQueries({
    queries: wanted.map((page) => read.devices(filter, page * read.PAGE)),
    combine: useCallback((results: { data?: { items: Device[] } | undefined }[]) => results.map((result) => result.data?.items), []),
  });
  const data = useMemo(() => loaded.flatMap((page) => page ?? []), [loaded]);
  const visibility = useMemo(() => Object.fromEntries((Object.keys(COLUMNS) as Column[]).map((column) => [column, shown.includes(column)])), [shown]);
  const table = useReactTable({ data, columns: definitions, getCoreRowModel: getCoreRowModel(), getRowId: (device) => device.metadata.name, state: { columnVisibility: visibility } });
  const rows = table.getRowModel().rowsById;
  const template = `36px minmax(150px, 1.4fr) ${shown.map((column) => COLUMNS[column].width).join(" ")}`;

  const toggle = useCallback((name: string) => {
    const next = new Set(selected);
    if (!next.delete(name)) next.add(name);
    setSelected(next);
  }, [selected, setSelected]);
  const seen = data.map((device) => device.metadata.name);
  const allSeen = seen.length > 0 && seen.every((name) => selected.has(name));
  return (
    // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- it scrolls: the keyboard needs a way in
    <div className="hf-scroller" ref={scroller} tabIndex={0} role="region" aria-label="Devices, scrolls">
      {/* eslint-disable-next-line jsx-a11y/click-events-have-key-events, jsx-a11y/no-noninteractive-element-interactions -- links inside are followed without a reload; they have keys of their own */}
      <div
        role="table"
        aria-label="Devices"
        aria-rowcount={total + 1}
        style={{ "--hf-columns": template } as React.CSSProperties}
        className={narrow ? "hf-virtual hf-narrow" : "hf-virtual"}
        onClick={(event) => {
          const link = (event.target as Element).closest("a");
          if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
          event.preventDefault();
          void navigate({ to: link.getAttribute("href") as never });
        }}
      >
        <div role="rowgroup" className="hf-vhead">
          <div role="row" aria-rowindex={1} className="hf-vrow">
            <span role="columnheader">
              <input type="checkbox" checked={allSeen} onChange={() => setSelected(new Set(allSeen ? [...selected].filter((name) => !seen.includes(name)) : [...selected, ...seen]))} aria-label="Select the devices on screen" />
            </span>
            {table.getHeaderGroups()[0]?.headers.map((header) => (
              <Header key={header.id} title={String(header.column.columnDef.header)} by={header.id === "name" ? "name" : COLUMNS[header.id as Column].sort} sort={sort} setSort={setSort} />
            ))}
          </div>
        </div>
        <div role="rowgroup" className="hf-vbody" style={{ height: virtual.getTotalSize() }}>
          {items.map((item) => {
            const device = loaded[Math.floor(item.index / read.PAGE) - first]?.[item.index % read.PAGE];
            const row = device && rows[device.metadata.name];
            return (
              <div key={item.key} className="hf-vplace" style={{ transform: `translateY(${item.start}px)`, height: item.size }} role="presentation">
                {row ? <Line row={row} device={row.original} index={item.index} shown={shown} narrow={narrow} selected={selected.has(row.id)} toggle={toggle} /> : <div role="row" aria-rowindex={item.index + 2} className="hf-vrow"><span role="cell" className="hf-waits">…</span></div>}
              </div>
            );
          })}
        </div>
      </div>
    </div>
  );
}

function Header({ title, by, sort, setSort }: { title: string; by: string | undefined; sort: string | undefined; setSort: Props["setSort"] }) {
  if (by === undefined) return <span role="columnheader">{title}</span>;
  const up = sort === by || (sort === undefined && by === "name");
  const down = sort === `-${by}`;
  // What is worst or newest first is what one looks for, but for names.
  const next = by === "name" ? (up ? "-name" : undefined) : down ? by : up ? undefined : `-${by}`;
  return (
    <span role="columnheader" aria-sort={up ? "ascending" : down ? "descending" : "none"}>
      <button type="button" className="hf-sort" onClick={() => setSort(next)}>{title} <span aria-hidden="true">{up ? "▲" : down ? "▼" : ""}</span></button>
    </span>
  );
}

interface LineProps {
  row: Row<Device>;
  device: Device;
  index: number;
  shown: readonly Column[];
  narrow: boolean;
  selected: boolean;
  toggle: (name: string) => void;
}

const Line = memo(function Line({ row, index, narrow, selected, toggle }: LineProps) {
  const name = row.id;
  return (
    <div role="row" aria-rowindex={index + 2} aria-selected={selected} className="hf-vrow">
      <span role="cell"><input type="checkbox" checked={selected} onChange={() => toggle(name)} aria-label={`Select ${name}`} /></span>
      {row.getVisibleCells().map((cell) => (
        <span role="cell" key={cell.id} className={`hf-vcell hf-v-${cell.column.id}`} {...(narrow ? { "data-label": String(cell.column.columnDef.header) } : {})}>
          {flexRender(cell.column.columnDef.cell, cell.getContext())}
        </span>
      ))}
    </div>
  );
}, (a, b) => a.device === b.device && a.index === b.index && a.shown === b.shown && a.narrow === b.narrow && a.selected === b.selected && a.toggle === b.toggle);
