// A new document about data, from an example.
import { useNavigate } from "@tanstack/react-router";
import { EditPane } from "../../editor/EditPane";
import { KINDS, kindOf, kindOfDocument, policyAt } from "../../lib/policies";
import { PageHead } from "../../ui/PageHead";
import { say } from "../../ui/say";
import { useSearch } from "../../ui/useSearch";

export default function NewPolicy() {
  const navigate = useNavigate();
  const [search] = useSearch();
  const kind = kindOf(search.kind) ?? "streams";
  const { one, about, example } = KINDS[kind];
  return (
    <div className="hf-stack">
      <PageHead title={`New ${one}`} />
      <p className="hf-kind">{about}</p>
      <EditPane
        key={kind}
        draft={`new/${kind}`}
        initial={example}
        label={`New ${one}, YAML`}
        applied={(results) => {
          const [made] = results;
          const madeKind = made && kindOfDocument(made.kind);
          say(made ? `${made.name} is ${made.action}` : "applied");
          void navigate({ to: (made && madeKind ? policyAt(madeKind, made.name) : "/policies") as never });
        }}
      />
    </div>
  );
}
