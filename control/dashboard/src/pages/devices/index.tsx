// All devices: found, filtered, sorted, grouped and paged by the server; the address holds the state.
import { Button } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import * as read from "../../api/queries";
import { count } from "../../lib/words";
import { Failed, Notice } from "../../ui/Notice";
import { PageHead } from "../../ui/PageHead";
import { PageLink } from "../../ui/PageLink";
import { useSearch } from "../../ui/useSearch";
import { Bulk } from "./Bulk";
import { Csv } from "./Csv";
import { Filters } from "./Filters";
import { asked, columns, FILTERS, opened, type Ignored } from "./filter";
import { groupsOf, type Group } from "./Groups";
import { Table } from "./Table";

/** Every filter taken away. */
const NONE = Object.fromEntries(FILTERS.map((name) => [name, undefined]));

export default function Devices() {
  const [search, setSearch, replace] = useSearch();
  const text = JSON.stringify(search);
  const { wanted, shown, open } = useMemo(() => {
    const now = JSON.parse(text) as typeof search;
    return { wanted: asked(now), shown: columns(now), open: opened(now) };
  }, [text]);
  const { filter, group, filtered, fault, ignored } = wanted;
  const first = useQuery({ ...read.devices(filter, 0), placeholderData: (before) => before });
  const total = first.data?.metadata?.total ?? 0;
  const grouped = useQuery({ ...read.groups(group ?? "", filter), enabled: group !== undefined });
  const groups = useMemo(() => (group === undefined ? undefined : groupsOf(group, grouped.data?.items ?? [], filter, open)), [group, grouped.data, filter, open]);
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());
  // Another filter is another table: what was selected there is not meant here.
  const which = JSON.stringify({ ...filter, sort: undefined });
  const [selectedIn, setSelectedIn] = useState(which);
  if (selectedIn !== which) {
    setSelectedIn(which);
    setSelected(new Set());
  }
  const setOpen = (of: Group, isOpen: boolean) => {
    const next = new Set(open);
    if (isOpen) next.add(of.key);
    else next.delete(of.key);
    setSearch({ open: [...next].join(",") });
  };
  return (
    <div className="hf-stack hf-devices">
      <PageHead title="Devices" aside={first.data && <span className="hf-kind" role="status">{filtered ? `${count(total, "device")} found` : count(total, "device")}</span>}>
        <Csv filter={filter} shown={shown} total={total} grouped={group} />
        <PageLink to="/devicepolicies">Device policies</PageLink>
        <PageLink to="/enrolment" search={{ new: "token" }}>Add a device</PageLink>
      </PageHead>
      <Filters search={search} set={setSearch} go={replace} fault={fault} />
      {ignored.length > 0 && <NotMeant all={ignored} filtered={filtered} drop={() => setSearch(Object.fromEntries(ignored.map(({ name, rest }) => [name, rest])))} />}
      {selected.size > 0 && <Bulk selected={selected} setSelected={setSelected} filter={filter} total={total} />}
      {first.error && <Failed error={first.error} what="The devices could not be read" retry={() => void first.refetch()} />}
      {group !== undefined && grouped.error && <Failed error={grouped.error} what="The groups could not be read" retry={() => void grouped.refetch()} />}
      {group !== undefined && (grouped.data?.more ?? 0) > 0 && <Notice tone="warn" title={`${count(grouped.data?.more ?? 0, "more group")} ${grouped.data?.more === 1 ? "is" : "are"} not shown`}>Those with the most trouble are. Filter the devices, or group them by a label with fewer values.</Notice>}
      {first.data && total === 0 ? (
        filtered ? (
          <Notice tone="idle" title="No device is like that">
            <Button variant="default" size="xs" onClick={() => setSearch(NONE)}>Take all filters away</Button>
          </Notice>
        ) : (
          <Notice tone="move" title="No device yet">
            The next step: <PageLink to="/enrolment" search={{ new: "token" }}>make an enrolment token</PageLink> and paste its line on a device.
          </Notice>
        )
      ) : (
        <Table filter={filter} total={total} groups={groups} setOpen={setOpen} shown={shown} sort={filter.sort} setSort={(sort) => setSearch({ sort })} selected={selected} setSelected={setSelected} />
      )}
    </div>
  );
}

/** What of the address was not understood: the table must not seem to follow it. */
function NotMeant({ all, filtered, drop }: { all: readonly Ignored[]; filtered: boolean; drop: () => void }) {
  return (
    <Notice tone="warn" alert title={filtered ? "A part of this address was ignored: the table is filtered by the rest alone" : "A part of this address was ignored: the table shows all devices"}>
      <ul>{all.map(({ part, why }) => <li key={part}><span className="hf-mono">{part}</span>: {why}</li>)}</ul>
      <Button size="xs" variant="default" onClick={drop}>Take it out of the address</Button>
    </Notice>
  );
}
