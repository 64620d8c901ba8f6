// A device's streams: what came of each, and what the device says of its link, its buffer and its
// horizon.
import { useQuery } from "@tanstack/react-query";
import * as read from "../../api/queries";
import type { LinkUse } from "../../lib/budget";
import { numbers, short } from "../../lib/records";
import { bytes } from "../../lib/words";
import { Card } from "../../ui/Card";
import { Horizon, type HorizonOf } from "../../ui/Horizon";
import { LinkBudget } from "../../ui/Link";
import { Loading } from "../../ui/Loading";
import { Failed } from "../../ui/Notice";
import { Sparkline } from "../../ui/Sparkline";
import { State } from "../../ui/State";
import { StreamChart } from "../../ui/StreamChart";
import { Time } from "../../ui/Time";
import { useSearch } from "../../ui/useSearch";

/** What a device reports of its data; each part may be absent. */
interface Said {
  storage?: { used: number; quota: number; written: number; life_years_hundredths?: number };
  link?: LinkUse;
  horizon?: HorizonOf;
}

interface Reported {
  waiting?: number;
  problem?: string;
}

export function Streams({ name }: { name: string }) {
  const [search, setSearch] = useSearch();
  const { data, error, refetch } = useQuery(read.deviceStreams(name));
  if (!data) return error ? <Failed error={error} what="The streams could not be read" retry={() => void refetch()} /> : <Loading />;
  const said = (data.data ?? {}) as Said;
  const chosen = data.items.find(({ stream }) => stream === search.stream);
  return (
    <div className="hf-stack">
      <Card title="Streams" aside={<span className="hf-kind">{data.items.length === 0 ? "" : "the line: the last hour"}</span>}>
        {data.items.length === 0 ? <p>It has no stream yet: nothing was published on it.</p> : (
          <table className="hf-table hf-folds">
            <thead><tr><th>Stream</th><th>Latest</th><th>When</th><th>Last hour</th><th className="hf-number">Received</th><th className="hf-number" title="Held back by policy: no loss, on the device">By policy</th><th className="hf-number" title="Lost">Missing</th><th className="hf-number">Waiting</th></tr></thead>
            <tbody>
              {data.items.map((item) => {
                const reported = (item.reported ?? {}) as Reported;
                const field = numbers(item.latest)[0];
                return (
                  <tr key={item.stream}>
                    <td data-label="Stream">
                      <span className="hf-stack hf-tight">
                        <button type="button" className="hf-fault hf-mono" aria-expanded={item.stream === chosen?.stream} onClick={() => setSearch({ stream: item.stream === chosen?.stream ? undefined : item.stream, field: undefined })}>{item.stream}</button>
                        {reported.problem && <State tone="warn">{reported.problem}</State>}
                      </span>
                    </td>
                    <td data-label="Latest"><span className="hf-mono">{item.latest === undefined || item.latest === null ? "" : short(item.latest, 40)}</span></td>
                    <td data-label="When"><Time at={item.last?.time} /></td>
                    <td data-label="Last hour">{field === undefined ? null : <Sparkline device={name} stream={item.stream} field={field} />}</td>
                    <td data-label="Received" className="hf-number">{item.received.toLocaleString("en")}</td>
                    <td data-label="By policy" className="hf-number"><span className="hf-kind">{(item.byPolicy ?? 0).toLocaleString("en")}</span></td>
                    <td data-label="Missing" className="hf-number">{item.missing.toLocaleString("en")}</td>
                    <td data-label="Waiting" className="hf-number">{reported.waiting?.toLocaleString("en") ?? ""}</td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        )}
      </Card>
      {chosen && <StreamChart key={chosen.stream} device={name} stream={chosen.stream} latest={chosen.latest} />}
      <div className="hf-grid">
        <Card title="Horizon"><Horizon of={said.horizon} /></Card>
        <Card title="Buffer">
          {said.storage && said.storage.quota > 0 ? (
            <dl className="hf-facts">
              <dt>In use</dt><dd>{bytes(said.storage.used)} of {bytes(said.storage.quota)}</dd>
              <dt>Written</dt><dd>{bytes(said.storage.written)} to flash since it was made</dd>
              {said.storage.life_years_hundredths !== undefined && <><dt>Flash lasts</dt><dd>{(said.storage.life_years_hundredths / 100).toFixed(1)} years at this rate</dd></>}
            </dl>
          ) : <p>The device has not said how full its buffer is.</p>}
        </Card>
      </div>
      <Card title="Link budget"><LinkBudget of={said.link} /></Card>
    </div>
  );
}
