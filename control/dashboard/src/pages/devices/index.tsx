// All devices: found, filtered, sorted and paged by the server; the address holds the state.
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
import { Filters } from "./Filters";
import { chips, columns, filter } from "./filter";
import { Table } from "./Table";

export default function Devices() {
  const [search, setSearch] = useSearch();
  const text = JSON.stringify(search);
  const { asked, fault, shown } = useMemo(() => {
    const now = JSON.parse(text) as typeof search;
    const { filter: asked, fault } = filter(now);
    return { asked, fault, shown: columns(now) };
  }, [text]);
  const first = useQuery({ ...read.devices(asked, 0), placeholderData: (before) => before });
  const total = first.data?.metadata?.total ?? 0;
  const filtered = Boolean(search.q ?? search.labels ?? search.connection) || chips(search).length > 0;
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());
  // Another filter is another table: what was selected there is not meant here.
  const which = JSON.stringify({ ...asked, sort: undefined });
  const [selectedIn, setSelectedIn] = useState(which);
  if (selectedIn !== which) {
    setSelectedIn(which);
    setSelected(new Set());
  }
  return (
    <div className="hf-stack hf-devices">
      <PageHead title="Devices" aside={first.data && <span className="hf-kind" role="status">{filtered ? `${count(total, "device")} found` : count(total, "device")}</span>}>
        <PageLink to="/enrolment" search={{ new: "token" }}>Add a device</PageLink>
      </PageHead>
      <Filters search={search} set={setSearch} fault={fault} />
      {selected.size > 0 && <Bulk selected={selected} setSelected={setSelected} filter={asked} total={total} />}
      {first.error && <Failed error={first.error} what="The devices could not be read" retry={() => void first.refetch()} />}
      {first.data && total === 0 ? (
        filtered ? (
          <Notice tone="idle" title="No device is like that">
            <Button variant="default" size="xs" onClick={() => setSearch({ q: undefined, labels: undefined, connection: undefined, problem: undefined, workload: undefined, site: undefined, attention: undefined })}>Take all filters away</Button>
          </Notice>
        ) : (
          <Notice tone="move" title="No device yet">
            The next step: <PageLink to="/enrolment" search={{ new: "token" }}>make an enrolment token</PageLink> and paste its line on a device.
          </Notice>
        )
      ) : (
        <Table filter={asked} total={total} shown={shown} sort={search.sort} setSort={(sort) => setSearch({ sort })} selected={selected} setSelected={setSelected} />
      )}
    </div>
  );
}
