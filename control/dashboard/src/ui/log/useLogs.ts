// The logs that a page shows: each is read while its device is online, and kept over interruptions.
import { useEffect, useLayoutEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";
import { DeviceLog } from "../../api/logs";
import { Book } from "../../lib/log/book";
import type { Line } from "../../lib/log/lines";
import type { Range } from "../../lib/log/range";

/** A workload on a device. */
export interface Source {
  device: string;
  workload: string;
  online: boolean;
  /** When the control plane last heard of the device. */
  heardAt?: string | null | undefined;
}

export function useLogs(sources: readonly Source[], range: Range): readonly DeviceLog[] {
  const known = useRef(new Map<string, DeviceLog>());
  const wanted = JSON.stringify([sources.map(({ device, workload }) => [device, workload]), range]);
  const logs = useMemo(() => {
    const [pairs, part] = JSON.parse(wanted) as [[string, string][], Range];
    const before = known.current;
    known.current = new Map(pairs.map(([device, workload]) => {
      const key = JSON.stringify([device, workload, part]);
      return [key, before.get(key) ?? new DeviceLog(device, workload, part)];
    }));
    return [...known.current.values()];
  }, [wanted]);
  const online = sources.map((source) => (source.online ? "1" : "0")).join("");
  useEffect(() => {
    logs.forEach((log, index) => (online[index] === "1" ? log.start() : log.pause()));
  }, [logs, online]);
  // Those that are no longer shown end; the others go on.
  const running = useRef<readonly DeviceLog[]>([]);
  useEffect(() => {
    for (const log of running.current) if (!logs.includes(log)) log.pause();
    running.current = logs;
  }, [logs]);
  useEffect(
    () => () => {
      for (const log of running.current) log.pause();
    },
    [],
  );
  return logs;
}

/** One book of several logs, in the order of their times. */
export function useMerged(logs: readonly DeviceLog[], wanted: boolean): Book | undefined {
  const [book] = useState(() => new Book());
  useLayoutEffect(() => {
    if (!wanted) return;
    const fill = () => book.fill(logs.map((log) => log.book));
    fill();
    const taps = logs.map((log, source) => {
      const tap = (lines?: Line[]) => (lines ? book.add(source, lines) : fill());
      log.taps.add(tap);
      return () => log.taps.delete(tap);
    });
    return () => {
      for (const end of taps) end();
      book.clear();
    };
  }, [book, logs, wanted]);
  return wanted ? book : undefined;
}

/** Draws anew when one of the books changes. */
export function useBooks(books: readonly Book[]): number {
  const subscribe = useMemo(
    () => (listener: () => void) => {
      const ends = books.map((book) => book.subscribe(listener));
      return () => {
        for (const end of ends) end();
      };
    },
    [books],
  );
  return useSyncExternalStore(subscribe, () => books.reduce((sum, book) => sum + book.version, 0));
}
