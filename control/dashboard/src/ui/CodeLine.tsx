// A line for a terminal, with a button that copies it.
import { useId } from "react";
import { CopyButton } from "./Copy";

export function CodeLine({ title, line }: { title: string; line: string }) {
  const id = useId();
  return (
    <div className="hf-stack hf-tight">
      <div className="hf-row hf-spread"><span id={id}>{title}</span><CopyButton text={line} /></div>
      {/* eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- it scrolls: the keyboard needs a way in */}
      <pre className="hf-code" tabIndex={0} role="region" aria-labelledby={id}>{line}</pre>
    </div>
  );
}
