// What is under way with a volume, and how it ended. A backup waits with the control plane until it was
// downloaded.
import { Button, Loader } from "@mantine/core";
import { useState } from "react";
import { reason } from "../../api/client";
import { dropArtifact, forgetJob, type VolumeId, type VolumeJob as Job } from "../../api/volumes";
import { bytes } from "../../lib/words";
import { Notice } from "../../ui/Notice";
import { ActButton, ActLink } from "../../ui/rights";

export function VolumeJob({ which, of }: { which: VolumeId; of: Job }) {
  const name = `${which.workload}/${which.volume}`;
  const close = <Button size="xs" variant="default" onClick={() => forgetJob(which)}>Close</Button>;
  switch (of.kind) {
    case "backing-up":
    case "restoring":
      return (
        <div className="hf-row" role="status">
          <Loader size="xs" />
          <span>{of.kind === "backing-up" ? `${which.device} uploads ${name}.` : `${which.device} fetches ${of.file} and replaces ${name}.`} <span className="hf-kind">You may look at other pages meanwhile; closing this tab ends it.</span></span>
        </div>
      );
    case "backed-up":
      return <Made which={which} digest={of.artifact.digest} size={of.artifact.size} />;
    case "restored":
      return <Notice tone="good" title={`${name} is restored`}><div className="hf-row hf-spread"><span>It has the files of {of.file}.</span>{close}</div></Notice>;
    case "failed":
      return <Notice tone="bad" title={`${of.title}: ${name}`} alert><div className="hf-row hf-spread"><span>{of.why}</span>{close}</div></Notice>;
  }
}

function Made({ which, digest, size }: { which: VolumeId; digest: string; size: number }) {
  const [failure, setFailure] = useState("");
  const [busy, setBusy] = useState(false);
  const drop = async () => {
    setBusy(true);
    setFailure("");
    try {
      await dropArtifact(digest);
      forgetJob(which);
    } catch (error) {
      setFailure(reason(error));
      setBusy(false);
    }
  };
  return (
    <Notice tone="good" title={`${which.workload}/${which.volume} is backed up`}>
      <div className="hf-stack hf-tight">
        <span>{bytes(size)} as a tar. It takes room with the control plane until it is deleted there.</span>
        <div className="hf-row">
          <ActLink may="artifact.get" size="xs" href={`/api/v1/artifacts/${digest}`} download={`${which.device}-${which.workload}-${which.volume}.tar`}>Download the backup</ActLink>
          <ActButton may="artifact.delete" size="xs" variant="default" loading={busy} onClick={() => void drop()}>Delete it from the control plane</ActButton>
          <Button size="xs" variant="default" onClick={() => forgetJob(which)}>Keep it there</Button>
        </div>
        {failure && <Notice tone="bad" title="Not deleted" alert>{failure}</Notice>}
      </div>
    </Notice>
  );
}
