// Somebody else was faster: what they changed, who, and two ways on.
import { Button } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { devicePolicy } from "../api/absence";
import { notification } from "../api/alarms";
import * as read from "../api/queries";
import { who } from "../lib/activity";
import { editable, toYaml } from "../lib/document";
import { editable as editableNotification } from "../lib/notification";
import type { Json } from "../lib/merge";
import { KINDS, kindOfDocument } from "../lib/policies";
import { Diff } from "../ui/Diff";
import { Loading } from "../ui/Loading";
import { Failed, Notice } from "../ui/Notice";
import { Time } from "../ui/Time";
import type { Base } from "./drafts";

interface Props {
  base: Base;
  refused: boolean;
  rebase: (theirs: Base) => void;
  discard: (theirs: Base) => void;
}

export function Conflict(props: Props) {
  if (kindOfDocument(props.base.kind ?? "")) return <OfPolicy {...props} />;
  if (props.base.kind === "DevicePolicy") return <OfDevicePolicy {...props} />;
  return props.base.kind === "Notification" ? <OfNotification {...props} /> : <OfWorkload {...props} />;
}

function OfPolicy({ base, refused, rebase, discard }: Props) {
  const kind = kindOfDocument(base.kind ?? "") ?? "streams";
  const { data, error, refetch } = useQuery(read.policy(kind, base.name));
  if (error) return <Failed error={error} what={`What changed in ${base.name} could not be read`} retry={() => void refetch()} />;
  if (!data || data.metadata.resourceVersion === base.version) return <Loading rows={3} />;
  const theirs: Base = { ...base, version: data.metadata.resourceVersion ?? 0, document: { ...editable(data), kind: base.kind } as Json };
  return <Meanwhile what={KINDS[kind].one} base={base} theirs={theirs} refused={refused} rebase={rebase} discard={discard} who={<>(<Time at={data.metadata.updatedAt} />)</>} />;
}

function OfDevicePolicy({ base, refused, rebase, discard }: Props) {
  const { data, error, refetch } = useQuery(devicePolicy(base.name));
  if (error) return <Failed error={error} what={`What changed in ${base.name} could not be read`} retry={() => void refetch()} />;
  if (!data || data.metadata.resourceVersion === base.version) return <Loading rows={3} />;
  const theirs: Base = { ...base, version: data.metadata.resourceVersion ?? 0, document: { ...editable(data), kind: "DevicePolicy" } as Json };
  return <Meanwhile what="device policy" base={base} theirs={theirs} refused={refused} rebase={rebase} discard={discard} who={<>(<Time at={data.metadata.updatedAt} />)</>} />;
}

function OfNotification({ base, refused, rebase, discard }: Props) {
  const { data, error, refetch } = useQuery(notification(base.name));
  if (error) return <Failed error={error} what={`What changed in ${base.name} could not be read`} retry={() => void refetch()} />;
  if (!data || data.metadata.resourceVersion === base.version) return <Loading rows={3} />;
  const theirs: Base = { kind: "Notification", name: base.name, version: data.metadata.resourceVersion ?? 0, document: editableNotification(data) };
  return <Meanwhile what="notification" base={base} theirs={theirs} refused={refused} rebase={rebase} discard={discard} who={<>(<Time at={data.metadata.updatedAt} />)</>} />;
}

function OfWorkload({ base, refused, rebase, discard }: Props) {
  const { data, error, refetch } = useQuery(read.workload(base.name));
  const revisions = useQuery(read.revisions(base.name));
  if (error) return <Failed error={error} what={`What changed in ${base.name} could not be read`} retry={() => void refetch()} />;
  if (!data || data.metadata.resourceVersion === base.version) return <Loading rows={3} />;
  const theirs: Base = { ...base, version: data.metadata.resourceVersion ?? 0, document: editable(data) as Json };
  const newest = revisions.data?.items.at(-1);
  const made = newest && <>(revision {newest.revision}, by {who(newest.createdBy, newest.createdByName)}, <Time at={newest.metadata.createdAt} />)</>;
  return <Meanwhile what="workload" base={base} theirs={theirs} refused={refused} rebase={rebase} discard={discard} who={made} />;
}

function Meanwhile({ what, base, theirs, refused, rebase, discard, who }: Props & { what: string; theirs: Base; who: React.ReactNode }) {
  return (
    <Notice tone="warn" title={refused ? `Refused: somebody changed this ${what} while you edited it` : `Somebody changed this ${what} while you edit it`} alert>
      <div className="hf-stack hf-tight">
        <p>
          Nothing of yours is applied, nothing is lost. This is what changed meanwhile{who && <> {who}</>}:
        </p>
        <Diff before={toYaml(base.document)} after={toYaml(theirs.document)} label="What changed meanwhile" />
        <div className="hf-row">
          <Button size="xs" onClick={() => rebase(theirs)}>Put my changes onto the newest</Button>
          <Button size="xs" variant="default" onClick={() => discard(theirs)}>Discard mine, take the newest</Button>
        </div>
      </div>
    </Notice>
  );
}
