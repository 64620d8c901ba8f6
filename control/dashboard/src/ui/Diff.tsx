// What changed between two texts, line by line; signs as well as colours.
import { diff, hunks } from "../lib/diff";
import { count } from "../lib/words";

const SIGNS = { same: " ", add: "+", remove: "−" } as const;

export function Diff({ before, after, label }: { before: string; after: string; label: string }) {
  const lines = hunks(diff(before, after));
  if (!lines.some((line) => line.kind === "add" || line.kind === "remove")) return <p>No difference.</p>;
  return (
    // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- it scrolls: the keyboard needs a way in
    <div className="hf-code hf-diff" role="region" aria-label={label} tabIndex={0}>
      {lines.map((line, index) =>
        line.kind === "skip" ? (
          <div key={index} className="skip">{count(line.skipped, "line")} unchanged</div>
        ) : (
          <div key={index} className={line.kind}>
            <span className="sign" aria-hidden="true">{SIGNS[line.kind]}</span>
            {line.kind !== "same" && <span className="hf-hidden">{line.kind === "add" ? "added: " : "removed: "}</span>}
            {line.text}
          </div>
        ),
      )}
    </div>
  );
}
