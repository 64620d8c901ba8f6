// The table itself: one row high or one of 50,000, only what is seen is drawn and fetched. Columns
// are TanStack Table's, rows TanStack Virtual's, pages TanStack Query's. Grouped, each group is a
// heading and, while it is open, the devices of its label's value.
import { useMediaQuery } from "@mantine/hooks";
import { useQueries } from "@tanstack/react-query";
import { useRouter } from "@tanstack/react-router";
import { createColumnHelper, flexRender, getCoreRowModel, useReactTable, type Row } from "@tanstack/react-table";
import { useVirtualizer } from "@tanstack/react-virtual";
import { memo, useCallback, useEffect, useMemo, useRef } from "react";
import * as read from "../../api/queries";
import type { Device } from "../../api/types";
import { place, starts } from "../../lib/segments";
import { tally, troubles } from "../../lib/workloads";
import { count } from "../../lib/words";
import { deviceAt } from "../../ui/PageLink";
import { Connection, DeviceHealth, State } from "../../ui/State";
import { Heard, Time } from "../../ui/Time";
import { COLUMNS, DEFAULT, type Column } from "./filter";
import { GroupHead, type Group } from "./Groups";

interface Props {
  filter: read.DeviceFilter;
  total: number;
  /** Grouped by a label: the groups, in their order. */
  groups: readonly Group[] | undefined;
  setOpen: (group: Group, open: boolean) => void;
  shown: readonly Column[];
  sort: string | undefined;
  setSort: (sort: string | undefined) => void;
  selected: ReadonlySet<string>;
  setSelected: (selected: ReadonlySet<string>) => void;
}

const HIGH = 40;
/** Four lines; each column beyond the usual ones is one more. */
const HIGH_NARROW = 112;
const LINE_NARROW = 24;
/** The heading of a group: its name, and its counts in two lines at most. */
const HEAD_NARROW = 92;

const helper = createColumnHelper<Device>();
const cells: Record<Column, (device: Device) => React.ReactNode> = {
  health: ({ status }) => <DeviceHealth of={status.health} short />,
  connection: ({ status }) => <Connection of={status.connection} since={status.connectionSince} away={status.absence?.state} short />,
  heardAt: ({ status }) => <Heard at={status.heardAt} late={status.overdue} />,
  workloads: (device) => <Workloads of={device} />,
  problems: (device) => <Problems of={device} />,
  labels: ({ metadata }) => {
    const text = Object.entries(metadata.labels ?? {}).map(([key, value]) => `${key}=${value}`).join(" ");
    return <span className="hf-mono" title={text}>{text}</span>;
  },
  certificate: ({ status }) => <Time at={status.certificateNotAfter} never="–" />,
  generation: ({ status: { generation } }) => (generation.applied === generation.desired ? `${generation.desired}` : `${generation.desired}, has ${generation.applied}`),
  address: ({ status }) => <span className="hf-mono" title={status.address ?? undefined}>{status.address ?? "–"}</span>,
  agent: ({ status }) => status.agent ?? "–",
  createdAt: ({ metadata }) => <Time at={metadata.createdAt} />,
};
const definitions = [
  helper.display({ id: "name", header: "Name", cell: ({ row }) => <a className="hf-cut" href={deviceAt(row.original.metadata.name)} title={row.original.metadata.name}>{row.original.metadata.name}</a> }),
  ...(Object.keys(COLUMNS) as Column[]).map((id) => helper.display({ id, header: COLUMNS[id].title, cell: ({ row }) => cells[id](row.original) })),
];

/** Workloads that run or are done, of those that it should run; of an offline device that is not known. */
function Workloads({ of }: { of: Device }) {
  const { all, good, known, lastGood, failing } = tally(of);
  if (all === 0) return "–";
  if (!known) return <State tone="unknown" title={`Unknown: ${lastGood} of ${all} were running or done when last heard`}>?/{all}</State>;
  const text = `${good}/${all}`;
  if (failing.length > 0) return <a href={deviceAt(of.metadata.name)} title={`Failing: ${failing.join(", ")}`}><State tone="bad">{text}</State></a>;
  return good === all ? text : <State tone="move" title={`${all - good} progressing or paused`}>{text}</State>;
}

function Problems({ of }: { of: Device }) {
  const all = troubles(of);
  if (all.length === 0) return "–";
  const messages = (of.status.problems ?? []).map(({ code, message }) => `${code}: ${message}`);
  return <span className={of.status.connection === "online" ? "hf-bad-text" : "hf-kind"} title={[...all, ...messages].join("\n")}>{all.join(", ")}</span>;
}

export function Table({ filter, total, groups, setOpen, shown, sort, setSort, selected, setSelected }: Props) {
  const narrow = useMediaQuery("(max-width: 47.99em)", false, { getInitialValueInEffect: false });
  const scroller = useRef<HTMLDivElement>(null);
  const { history } = useRouter();
  const segments = useMemo(() => groups ?? [{ devices: total, open: true, filter }], [groups, total, filter]);
  const grouped = groups !== undefined;
  const from = useMemo(() => starts(segments, grouped), [segments, grouped]);
  const more = shown.filter((column) => !DEFAULT.includes(column));
  const high = narrow ? HIGH_NARROW + more.length * LINE_NARROW : HIGH;
  const virtual = useVirtualizer({ count: from.at(-1) ?? 0, getScrollElement: () => scroller.current, estimateSize: (index) => (narrow && grouped && place(from, grouped, index).heading ? HEAD_NARROW : high), overscan: 8 });
  // Sizes are remembered by the number of a row, and another heading or another width makes others.
  useEffect(() => {
    virtual.measure();
  }, [virtual, from, high]);
  const items = virtual.getVirtualItems();
  // Pages of the groups that are in sight; as a text, so that they are the same while they are.
  const pages = [...new Set(items.flatMap(({ index }) => {
    const at = place(from, grouped, index);
    return at.heading ? [] : [`${at.segment} ${Math.floor(at.at / read.PAGE)}`];
  }))].join();
  const wanted = useMemo(() => pages.split(",").filter(Boolean).map((page) => page.split(" ").map(Number) as [number, number]), [pages]);
  const loaded = useQueries({
    queries: wanted.map(([segment, page]) => read.devices(segments[segment]?.filter ?? filter, page * read.PAGE)),
    combine: useCallback((results: { data?: { items: Device[] } | undefined }[]) => results.map((result) => result.data?.items), []),
  });
  const data = useMemo(() => [...new Map(loaded.flatMap((page) => page ?? []).map((device) => [device.metadata.name, device])).values()], [loaded]);
  const visibility = useMemo(() => Object.fromEntries((Object.keys(COLUMNS) as Column[]).map((column) => [column, shown.includes(column)])), [shown]);
  const table = useReactTable({ data, columns: definitions, getCoreRowModel: getCoreRowModel(), getRowId: (device) => device.metadata.name, state: { columnVisibility: visibility } });
  const rows = table.getRowModel().rowsById;
  const template = `36px minmax(160px, 1.4fr) ${shown.map((column) => COLUMNS[column].width).join(" ")}`;
  const deviceOf = (row: number) => {
    const at = place(from, grouped, row);
    if (at.heading) return undefined;
    return loaded[wanted.findIndex(([segment, page]) => segment === at.segment && page === Math.floor(at.at / read.PAGE))]?.[at.at % read.PAGE];
  };

  const toggle = useCallback((name: string) => {
    const next = new Set(selected);
    if (!next.delete(name)) next.add(name);
    setSelected(next);
  }, [selected, setSelected]);
  const { startIndex = 0, endIndex = -1 } = virtual.range ?? {};
  const seen = Array.from({ length: Math.max(0, endIndex - startIndex + 1) }, (_, at) => deviceOf(startIndex + at)?.metadata.name).filter((name) => name !== undefined);
  const allSeen = seen.length > 0 && seen.every((name) => selected.has(name));
  const selects = `${allSeen ? "Deselect" : "Select"} the ${count(seen.length, "device")} on screen`;
  return (
    // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- it scrolls: the keyboard needs a way in
    <div className="hf-scroller" ref={scroller} tabIndex={0} role="region" aria-label="Devices, scrolls">
      {/* eslint-disable-next-line jsx-a11y/click-events-have-key-events, jsx-a11y/no-noninteractive-element-interactions -- links inside are followed without a reload; they have keys of their own */}
      <div
        role="table"
        aria-label="Devices"
        aria-rowcount={(from.at(-1) ?? 0) + 1}
        style={{ "--hf-columns": template, "--hf-more": more.length } as React.CSSProperties}
        className={narrow ? "hf-virtual hf-narrow" : "hf-virtual"}
        onClick={(event) => {
          const link = (event.target as Element).closest("a");
          if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
          event.preventDefault();
          history.push(link.getAttribute("href") ?? "");
        }}
      >
        <div role="rowgroup" className="hf-vhead">
          <div role="row" aria-rowindex={1} className="hf-vrow">
            <span role="columnheader">
              <input type="checkbox" checked={allSeen} disabled={seen.length === 0} onChange={() => setSelected(new Set(allSeen ? [...selected].filter((name) => !seen.includes(name)) : [...selected, ...seen]))} aria-label={selects} title={selects} />
            </span>
            {table.getHeaderGroups()[0]?.headers.map((header) => (
              <Header key={header.id} title={String(header.column.columnDef.header)} by={header.id === "name" ? "name" : COLUMNS[header.id as Column].sort} sort={sort} setSort={setSort} />
            ))}
          </div>
        </div>
        <div role="rowgroup" className="hf-vbody" style={{ height: virtual.getTotalSize() }}>
          {items.map((item) => {
            const at = place(from, grouped, item.index);
            const device = deviceOf(item.index);
            const row = device && rows[device.metadata.name];
            const group = at.heading ? groups?.[at.segment] : undefined;
            return (
              <div key={item.key} className="hf-vplace" style={{ transform: `translateY(${item.start}px)`, height: item.size }} role="presentation">
                {group ? <GroupHead of={group} index={item.index} width={shown.length + 2} setOpen={setOpen} />
                  : row ? <Line row={row} device={row.original} index={item.index} shown={shown} narrow={narrow} selected={selected.has(row.id)} toggle={toggle} />
                    : <div role="row" aria-rowindex={item.index + 2} className="hf-vrow"><span role="cell" className="hf-waits">…</span></div>}
              </div>
            );
          })}
        </div>
      </div>
    </div>
  );
}

/** What one looks for is the greatest first, but for these: names, and states, whose worst is first. */
const UP_FIRST = ["name", "health"];

function Header({ title, by, sort, setSort }: { title: string; by: string | undefined; sort: string | undefined; setSort: Props["setSort"] }) {
  if (by === undefined) return <span role="columnheader">{title}</span>;
  const up = sort === by || (sort === undefined && by === "name");
  const down = sort === `-${by}`;
  const upFirst = UP_FIRST.includes(by);
  const [first, second] = upFirst ? [by, `-${by}`] : [`-${by}`, by];
  const next = by === "name" ? (up ? "-name" : undefined) : sort === first ? second : sort === second ? undefined : first;
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
