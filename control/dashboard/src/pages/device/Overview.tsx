// A device as it is known now: its state with the reasons, workloads, problems, certificate, facts.
import { useQuery } from "@tanstack/react-query";
import * as read from "../../api/queries";
import type { Device } from "../../api/types";
import { inForce } from "../../lib/absence";
import { Card } from "../../ui/Card";
import { Failed } from "../../ui/Notice";
import { PageLink } from "../../ui/PageLink";
import { Standing } from "../../ui/Standing";
import { State } from "../../ui/State";
import { Heard, Time } from "../../ui/Time";
import { Words } from "../../ui/Words";
import { Problems } from "./Problems";
import { Workloads } from "./Workloads";

/** A device renews at two thirds of its certificate's life; so near the end something is wrong. */
const NEAR = 7 * 86_400_000;

export function Overview({ device }: { device: Device }) {
  const { status, metadata } = device;
  const explained = useQuery(read.explanation("device", metadata.name));
  return (
    <div className="hf-stack">
      {explained.error && !explained.data && <Failed error={explained.error} what="The reasons could not be read" retry={() => void explained.refetch()} />}
      {explained.data && <Standing of={explained.data} />}
      <Workloads device={device} />
      <div className="hf-grid">
        <Problems device={device} />
        <Certificate of={status.certificateNotAfter} />
        <Card title="Device">
          <dl className="hf-facts">
            <Fact name="Last heard">{status.heardAt && <Heard at={status.heardAt} late={status.overdue} />}</Fact>
            {status.absence && (
              <Fact name="When offline">
                {inForce(status.absence)}
                {status.absence.policy && <> <PageLink to={`/devicepolicies/${status.absence.policy}`}>{status.absence.policy}</PageLink></>}
                {status.absence.state && status.absence.alarmAt && <>, alarm <Time at={status.absence.alarmAt} /></>}
                {(status.absence.conflicts ?? []).length > 0 && <>; as narrow, with another rule: {(status.absence.conflicts ?? []).join(", ")}</>}
              </Fact>
            )}
            <Fact name="Agent">{status.agent}</Fact>
            <Fact name="System">{[status.arch, status.kernel].filter(Boolean).join(", ")}</Fact>
            <Fact name="Container engine">{status.engine && engine(status.engine)}</Fact>
            <Fact name="Address"><span className="hf-mono">{status.address}</span></Fact>
            <Fact name="Enrolled"><Time at={metadata.createdAt} /></Fact>
            <Fact name="Desired state">{`number ${status.generation.desired}${status.generation.applied === status.generation.desired ? ", applied" : `, the device has applied ${status.generation.applied}`}`}</Fact>
            <Fact name="Rejected messages">{String(status.refused ?? 0)}</Fact>
          </dl>
        </Card>
      </div>
    </div>
  );
}

/** Name and version of a container engine, or why there is none to use. */
function engine({ name, version, api, problem }: NonNullable<Device["status"]["engine"]>) {
  const said = name ? `${name} ${version ?? ""}${api ? `, API ${api}` : ""}` : "none has answered the agent yet";
  return problem ? <>{said}: <Words>{problem}</Words></> : said;
}

function Certificate({ of }: { of: string | null | undefined }) {
  const left = of ? Date.parse(of) - Date.now() : undefined;
  return (
    <Card title="Certificate">
      {left === undefined ? <p>It has none yet.</p> : (
        <p className="hf-row">
          <State tone={left <= 0 ? "bad" : left < NEAR ? "warn" : "good"}>{left <= 0 ? "expired" : left < NEAR ? "near its end" : "valid"}</State>
          <span>{left <= 0 ? "ended" : "ends"} <Time at={of} /></span>
        </p>
      )}
    </Card>
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
