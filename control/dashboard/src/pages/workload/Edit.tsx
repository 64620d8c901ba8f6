// The workload's document, edited against the version that was read.
import { EditPane } from "../../editor/EditPane";
import type { Workload } from "../../api/types";
import { editable, toYaml } from "../../lib/document";
import type { Json } from "../../lib/merge";
import { say } from "../../ui/say";
import { useSearch } from "../../ui/useSearch";
import { useState } from "react";

export function Edit({ workload }: { workload: Workload }) {
  // What was read when the editing began: later versions show as a conflict, not under the hands.
  const [first] = useState(() => ({ name: workload.metadata.name, version: workload.metadata.resourceVersion ?? 0, document: editable(workload) as Json }));
  const [, setSearch] = useSearch();
  return (
    <EditPane
      draft={`workload/${first.name}`}
      initial={toYaml(first.document)}
      base={first}
      label={`Document of ${first.name}, YAML`}
      applied={(results) => {
        say(`${results[0]?.name ?? first.name} is ${results[0]?.action ?? "applied"}`);
        setSearch({ tab: undefined });
      }}
    />
  );
}
