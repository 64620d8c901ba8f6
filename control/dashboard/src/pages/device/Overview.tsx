// Desired beside reported, each difference with its reason; problems; certificate; what it is.
import { useQuery } from "@tanstack/react-query";
import * as read from "../../api/queries";
import type { Device } from "../../api/types";
import { Card } from "../../ui/Card";
import { Failed } from "../../ui/Notice";
import { PageLink, workloadAt } from "../../ui/PageLink";
import { Standing } from "../../ui/Standing";
import { Phase, State, WorkloadState } from "../../ui/State";
import { Time } from "../../ui/Time";
import { Words } from "../../ui/Words";

/** A device renews at two thirds of its certificate's life; so near the end something is wrong. */
const NEAR = 7 * 86_400_000;

export function Overview({ device }: { device: Device }) {
  const { status, metadata } = device;
  const explained = useQuery(read.explanation("device", metadata.name));
  const ends = status.certificateNotAfter ? Date.parse(status.certificateNotAfter) : undefined;
  const left = ends === undefined ? undefined : ends - Date.now();
  return (
    <div className="hf-stack">
      {explained.error && !explained.data && <Failed error={explained.error} what="The reasons could not be read" retry={() => void explained.refetch()} />}
      {explained.data && <Standing of={explained.data} />}
      <Workloads device={device} />
      <div className="hf-grid">
        <Card title="Problems">
          {(status.problems ?? []).length === 0 ? <p>It reports none.</p> : (
            <ul className="hf-list">
              {(status.problems ?? []).map((problem) => (
                <li key={`${problem.code} ${problem.message}`}><State tone="bad">{problem.code}</State> {problem.message}{problem.since && <span className="hf-kind"> since <Time at={problem.since} /></span>}</li>
              ))}
            </ul>
          )}
        </Card>
        <Card title="Certificate">
          {left === undefined ? <p>It has none yet.</p> : (
            <p className="hf-row">
              <State tone={left <= 0 ? "bad" : left < NEAR ? "warn" : "good"}>{left <= 0 ? "over" : left < NEAR ? "near its end" : "good"}</State>
              <span>{left <= 0 ? "ended" : "ends"} <Time at={status.certificateNotAfter} /></span>
            </p>
          )}
        </Card>
        <Card title="Device">
          <dl className="hf-facts">
            <Fact name="Agent">{status.agent}</Fact>
            <Fact name="System">{[status.arch, status.kernel].filter(Boolean).join(", ")}</Fact>
            <Fact name="Address"><span className="hf-mono">{status.address}</span></Fact>
            <Fact name="Enrolled"><Time at={metadata.createdAt} /></Fact>
            <Fact name="Generation">{`${status.generation.applied} applied, ${status.generation.desired} desired`}</Fact>
            <Fact name="Epoch">{String(status.epoch)}</Fact>
            <Fact name="Refused inputs">{String(status.refused ?? 0)}</Fact>
          </dl>
        </Card>
      </div>
    </div>
  );
}

function Fact({ name, children }: { name: string; children: React.ReactNode }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>{children || "not known yet"}</dd>
    </>
  );
}

function Workloads({ device }: { device: Device }) {
  const { data, error, refetch } = useQuery(read.differences(device.metadata.name));
  return (
    <Card title="Workloads: desired beside reported">
      {error && !data && <Failed error={error} what="The differences could not be read" retry={() => void refetch()} />}
      {data?.items.length === 0 && <p>Nothing is desired of it, and it reports nothing. Workloads choose devices by their labels.</p>}
      {data && data.items.length > 0 && (
        <table className="hf-table hf-folds">
          <thead><tr><th>Workload</th><th className="hf-number">Desired</th><th className="hf-number">Reported</th><th>State</th><th>Since</th><th>Restarts</th><th>Difference</th><th><span className="hf-hidden">Log</span></th></tr></thead>
          <tbody>
            {data.items.map((item) => (
              <tr key={item.workload}>
                <td><PageLink to={workloadAt(item.workload)}>{item.workload}</PageLink></td>
                <td className="hf-number" data-label="Desired">{item.desiredRevision ?? "–"}</td>
                <td className="hf-number" data-label="Reported">{item.reportedRevision ?? "–"}</td>
                <td data-label="State">{item.state ? <WorkloadState of={item.state} last={item.lastState} /> : <Phase of={item.phase ?? ""} />}</td>
                <td data-label="Since">{item.since ? <Time at={item.since} /> : "–"}</td>
                <td data-label="Restarts">{device.status.workloads[item.workload]?.restarts ?? "–"}</td>
                <td data-label="Difference">{item.asDesired ? "as desired" : <Words>{item.reason}</Words>}</td>
                <td>{device.status.workloads[item.workload] && <PageLink to={`/devices/${device.metadata.name}`} search={{ tab: "logs", workload: item.workload }} aria-label={`Log of ${item.workload}`}>Log</PageLink>}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </Card>
  );
}
