// Somebody else was faster: what they changed, who, and two ways on.
import { Button } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import * as read from "../api/queries";
import { editable, toYaml } from "../lib/document";
import type { Json } from "../lib/merge";
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

export function Conflict({ base, refused, rebase, discard }: Props) {
  const isWorkload = (base.kind ?? "Workload") === "Workload";
  const workload = useQuery({ ...read.workload(base.name), enabled: isWorkload });
  const policy = useQuery({ ...read.policy(base.kind === "LinkBudget" ? "linkbudgets" : "streams", base.name), enabled: !isWorkload });
  const { data, error, refetch } = isWorkload ? workload : policy;
  const revisions = useQuery({ ...read.revisions(base.name), enabled: isWorkload });
  if (error) return <Failed error={error} what={`What changed in ${base.name} could not be read`} retry={() => void refetch()} />;
  if (!data || data.metadata.resourceVersion === base.version) return <Loading rows={3} />;
  const theirs: Base = { ...base, version: data.metadata.resourceVersion ?? 0, document: editable(data) as Json };
  const newest = revisions.data?.items.at(-1);
  return (
    <Notice tone="warn" title={refused ? `Refused: somebody changed this ${isWorkload ? "workload" : "document"} while you edited it` : `Somebody changed this ${isWorkload ? "workload" : "document"} while you edit it`} alert>
      <div className="hf-stack hf-tight">
        <p>
          Nothing of yours is applied, nothing is lost. This is what changed meanwhile
          {newest && <> (revision {newest.revision}, by {newest.createdBy}, <Time at={newest.metadata.createdAt} />)</>}:
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
