// A new workload (or several documents at once), from an example.
import { useNavigate } from "@tanstack/react-router";
import { EditPane } from "../../editor/EditPane";
import { count } from "../../lib/words";
import { PageHead } from "../../ui/PageHead";
import { workloadAt } from "../../ui/PageLink";
import { say } from "../../ui/say";

const EXAMPLE = `apiVersion: holdfast/v1
kind: Workload
metadata:
  name: hello
spec:
  devices:
    matchLabels:
      role: gateway
  run:
    process:
      path: /bin/sh
      args:
        - -c
        - while true; do echo hello from $HOLDFAST_DEVICE; sleep 5; done
  restart:
    policy: always
`;

export default function Apply() {
  const navigate = useNavigate();
  return (
    <div className="hf-stack">
      <PageHead title="Apply a workload" />
      <EditPane
        draft="apply"
        initial={EXAMPLE}
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
