// A device's own figures (processor, memory, disk, …) out of a record of its metrics stream.

export interface Figure {
  name: string;
  /** In words. */
  value: string;
  /** Part of the whole, in percent; undefined: there is no whole. */
  percent?: number;
}

/** The most used parts of a disk or a memory that are no trouble, in percent. */
export const FULL = 90;

const unit = (bytes: number) => {
  const power = bytes < 1024 ? 0 : Math.min(Math.floor(Math.log2(bytes) / 10), 4);
  return `${(bytes / 1024 ** power).toFixed(power === 0 ? 0 : 1)} ${["bytes", "KiB", "MiB", "GiB", "TiB"][power]}`;
};

const number = (value: unknown) => (typeof value === "number" && Number.isFinite(value) ? value : undefined);
const field = (value: unknown, name: string) => (typeof value === "object" && value !== null ? number((value as Record<string, unknown>)[name]) : undefined);

/** Undefined: it is no such record. */
export function figures(value: unknown): Figure[] | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  const record = value as Record<string, unknown>;
  const found: Figure[] = [];
  const cpu = number(record.cpu);
  if (cpu !== undefined) found.push({ name: "Processor", value: `${cpu.toFixed(1)} % busy`, percent: cpu });
  const load = number(record.load);
  if (load !== undefined) found.push({ name: "Load", value: load.toFixed(2) });
  for (const [key, name] of [["memory", "Memory"], ["disk", "Disk"]] as const) {
    const [total, used] = [field(record[key], "total"), field(record[key], "used")];
    if (total !== undefined && used !== undefined && total > 0) found.push({ name, value: `${unit(used)} of ${unit(total)}`, percent: (100 * used) / total });
  }
  const [received, sent] = [field(record.network, "received"), field(record.network, "sent")];
  if (received !== undefined && sent !== undefined) found.push({ name: "Network", value: `${unit(received)} received, ${unit(sent)} sent since the record before` });
  const temperature = number(record.temperature);
  if (temperature !== undefined) found.push({ name: "Temperature", value: `${temperature.toFixed(1)} °C` });
  // A workload's record with a field `load` is not a machine's.
  return found.some(({ name }) => name === "Memory" || name === "Disk") ? found : undefined;
}
