// The workload's log on several of its devices: side by side, or as one by their times.
import { MultiSelect, SegmentedControl } from "@mantine/core";
import { useQueries, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import * as read from "../../api/queries";
import type { Workload } from "../../api/types";
import { Loading } from "../../ui/Loading";
import { Failed, Notice } from "../../ui/Notice";
import { Log } from "../../ui/log/Log";
import { useSearch } from "../../ui/useSearch";

/** Logs that are shown at the same time: each is a request that stays open. */
const MOST = 4;
/** Devices that are offered at once. */
const OFFERED = 20;

export function Logs({ workload }: { workload: Workload }) {
  const name = workload.metadata.name;
  const [search, setSearch] = useSearch();
  const [typed, setTyped] = useState("");
  const list = useQuery(read.devices({ workload: name, sort: "-connection", ...(typed ? { q: typed } : {}) }, 0, OFFERED));
  const offered = (list.data?.items ?? []).map(({ metadata }) => metadata.name);
  const named = (search.devices ?? "").split(",").filter(Boolean).slice(0, MOST);
  // Without a choice: the first two that are there.
  const [first, setFirst] = useState<string[]>();
  if (!first && typed === "" && list.data) setFirst(offered.slice(0, 2));
  const chosen = named.length > 0 ? named : (first ?? []);
  const devices = useQueries({ queries: chosen.map((device) => read.device(device)) });
  if (!list.data && list.error) return <Failed error={list.error} what="The workload's devices could not be read" retry={() => void list.refetch()} />;
  if (!list.data && chosen.length === 0) return <Loading />;
  if (chosen.length === 0) return <Notice tone="idle" title="No device runs it, so there is no log" />;
  const sources = chosen.map((device, index) => {
    const status = devices[index]?.data?.status;
    return { device, workload: name, online: status?.connection === "online", heardAt: status?.heardAt };
  });
  const missing = devices.find(({ error }) => error)?.error;
  return (
    <>
      {missing && <Failed error={missing} what="One of the devices could not be read" />}
      <Log sources={sources} merged={search.view === "merged"}>
        <MultiSelect
          label={`Devices (up to ${MOST})`}
          data={[...new Set([...chosen, ...offered])]}
          value={chosen}
          onChange={(names) => setSearch({ devices: names.join(",") || undefined })}
          maxValues={MOST}
          searchable
          searchValue={typed}
          onSearchChange={setTyped}
          nothingFoundMessage="No device of this workload has such a name"
          maw={480}
        />
        {chosen.length > 1 && (
          <SegmentedControl
            aria-label="View"
            size="xs"
            data={[{ value: "side", label: "Side by side" }, { value: "merged", label: "Merged by time" }]}
            value={search.view === "merged" ? "merged" : "side"}
            onChange={(view) => setSearch({ view: view === "merged" ? view : undefined })}
          />
        )}
      </Log>
    </>
  );
}
