// The waiting room: devices that enrolled and wait for a person.
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { approve, forget } from "../../api/actions";
import { reason } from "../../api/client";
import * as read from "../../api/queries";
import { count } from "../../lib/words";
import { Card } from "../../ui/Card";
import { Confirm } from "../../ui/Confirm";
import { Labels } from "../../ui/Labels";
import { Loading } from "../../ui/Loading";
import { Failed } from "../../ui/Notice";
import { deviceAt, PageLink } from "../../ui/PageLink";
import { say } from "../../ui/say";
import { Time } from "../../ui/Time";
import { ActButton } from "../../ui/rights";

export function Waiting() {
  const { data, error, refetch } = useQuery(read.devices({ connection: "pending", sort: "-createdAt" }, 0));
  const [refusing, setRefusing] = useState("");
  const [busy, setBusy] = useState("");
  const let_in = async (name: string) => {
    setBusy(name);
    try {
      await approve(name);
      say(`${name} is approved`);
    } catch (failure) {
      say(`${name} was not approved: ${reason(failure)}`, true);
    } finally {
      setBusy("");
    }
  };
  const total = data?.metadata?.total ?? data?.items.length ?? 0;
  return (
    <Card title="Waiting for approval" aside={data && total > 0 && <span className="hf-kind">{count(total, "device")}</span>}>
      {!data && (error ? <Failed error={error} what="Devices waiting for approval could not be read" retry={() => void refetch()} /> : <Loading rows={2} />)}
      {data && total === 0 && <p>No device is waiting. Devices wait here when their token requires approval.</p>}
      {data && total > 0 && (
        <table className="hf-table hf-folds">
          <thead><tr><th>Device</th><th>Enrolled</th><th>Labels</th><th><span className="hf-hidden">Decide</span></th></tr></thead>
          <tbody>
            {data.items.map(({ metadata }) => (
              <tr key={metadata.name}>
                <td><PageLink to={deviceAt(metadata.name)}>{metadata.name}</PageLink></td>
                <td data-label="Enrolled"><Time at={metadata.createdAt} /></td>
                <td data-label="Labels"><Labels of={metadata.labels} /></td>
                <td>
                  <span className="hf-row hf-tight">
                    <ActButton may="device.approve" device={metadata.name} size="compact-sm" loading={busy === metadata.name} onClick={() => void let_in(metadata.name)} aria-label={`Approve ${metadata.name}`}>Approve</ActButton>
                    <ActButton may="device.delete" device={metadata.name} size="compact-sm" variant="outline" color="red" onClick={() => setRefusing(metadata.name)} aria-label={`Refuse ${metadata.name}`}>Refuse…</ActButton>
                  </span>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {data && total > data.items.length && <p><PageLink to="/devices" search={{ connection: "pending" }}>All {total.toLocaleString("en")} in the device table</PageLink></p>}
      {refusing && (
        <Confirm title={`Refuse ${refusing}?`} act={`Refuse ${refusing}`} run={async () => { await forget(refusing); say(`${refusing} is refused`); }} close={() => setRefusing("")}>
          <p><strong>{refusing}</strong> is rejected and deleted. It can enrol again with another token.</p>
        </Confirm>
      )}
    </Card>
  );
}
