// The log of one of the device's workloads, as it is written.
import { Select } from "@mantine/core";
import type { Device } from "../../api/types";
import { Log } from "../../ui/log/Log";
import { Notice } from "../../ui/Notice";
import { useSearch } from "../../ui/useSearch";

export function Logs({ device }: { device: Device }) {
  const [search, setSearch] = useSearch();
  const names = [...new Set([...Object.keys(device.status.workloads), ...Object.keys(device.desired ?? {})])].sort();
  if (names.length === 0) return <Notice tone="idle" title="No workload, no log" />;
  const chosen = names.includes(search.workload ?? "") ? (search.workload ?? "") : (names[0] ?? "");
  return (
    <Log key={chosen} sources={[{ device: device.metadata.name, workload: chosen, online: device.status.connection === "online", heardAt: device.status.heardAt }]} merged={false}>
      <Select label="Workload" data={names} value={chosen} onChange={(workload) => setSearch({ workload: workload ?? undefined })} allowDeselect={false} maw={220} />
    </Log>
  );
}
