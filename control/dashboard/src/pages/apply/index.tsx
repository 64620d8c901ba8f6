// A new workload (or several documents at once), from an example.
import { useNavigate } from "@tanstack/react-router";
import { EditPane } from "../../editor/EditPane";
import { EXAMPLES } from "../../lib/examples";
import { count } from "../../lib/words";
import { PageHead } from "../../ui/PageHead";
import { workloadAt } from "../../ui/PageLink";
import { say } from "../../ui/say";

export default function Apply() {
  const navigate = useNavigate();
  return (
    <div className="hf-stack">
      <PageHead title="Apply a workload" />
      <EditPane
        draft="apply"
        files
        initial={EXAMPLES[0].text}
        examples={EXAMPLES}
        label="Documents to apply, YAML"
        applied={(results) => {
          say(results.length === 1 ? `${results[0]?.name} is ${results[0]?.action}` : `${count(results.length, "document")} applied`);
          const one = results.length === 1 ? results[0] : undefined;
          void navigate({ to: (one ? workloadAt(one.name) : "/workloads") as never });
        }}
      />
    </div>
  );
}
