// The log of one of the device's workloads, as it is written.
import { Select, Switch } from "@mantine/core";
import type { Device } from "../../api/types";
import { Log } from "../../ui/Log";
import { Notice } from "../../ui/Notice";
import { useSearch } from "../../ui/useSearch";

/** Lines from the end to begin with; the page keeps so many at most. */
const TAILS = ["100", "500", "5000"];
const TAIL = "500";
/** Runs before the present one that can be asked for. */
const RUNS = ["0", "1", "2", "3"];
const RUN_WORDS = ["all, and what comes", "the run before", "two runs before", "three runs before"];

export function Logs({ device }: { device: Device }) {
  const [search, setSearch] = useSearch();
  const names = [...new Set([...Object.keys(device.status.workloads), ...Object.keys(device.desired ?? {})])].sort();
  if (names.length === 0) return <Notice tone="idle" title="No workload, no log" />;
  const chosen = names.includes(search.workload ?? "") ? (search.workload ?? "") : (names[0] ?? "");
  const tail = TAILS.includes(search.tail ?? "") ? (search.tail ?? TAIL) : TAIL;
  const run = RUNS.includes(search.run ?? "") ? (search.run ?? "0") : "0";
  const times = search.times !== "off";
  return (
    <div className="hf-stack hf-tight">
      <div className="hf-row hf-pair">
        <Select label="Workload" data={names} value={chosen} onChange={(workload) => setSearch({ workload: workload ?? undefined })} allowDeselect={false} maw={220} />
        <Select label="Begin with the last" data={TAILS.map((value) => ({ value, label: `${Number(value).toLocaleString("en")} lines` }))} value={tail} onChange={(value) => setSearch({ tail: value === TAIL ? undefined : (value ?? undefined) })} allowDeselect={false} maw={170} />
        <Select label="Written by" data={RUNS.map((value, index) => ({ value, label: RUN_WORDS[index] ?? value }))} value={run} onChange={(value) => setSearch({ run: value === "0" ? undefined : (value ?? undefined) })} allowDeselect={false} maw={190} />
        <Switch label="Times" title="When the device first saw a line: within a second, for older lines within a tenth of their age" checked={times} onChange={(event) => setSearch({ times: event.currentTarget.checked ? undefined : "off" })} />
      </div>
      <Log key={`${chosen} ${tail} ${run} ${times}`} device={device.metadata.name} workload={chosen} online={device.status.connection === "online"} tail={Number(tail)} times={times} run={Number(run)} />
    </div>
  );
}
