// Push an artifact: a file for workloads to execute.
import { Card } from "../../ui/Card";
import { PageHead } from "../../ui/PageHead";
import { PageLink } from "../../ui/PageLink";
import { PushArtifact } from "../../ui/PushArtifact";

export default function ArtifactPage() {
  return (
    <div className="hf-stack">
      <PageHead title="Push an artifact">
        <PageLink to="/apply">Apply a workload</PageLink>
      </PageHead>
      <Card title="File"><PushArtifact /></Card>
    </div>
  );
}
