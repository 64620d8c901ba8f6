// Stores a file in the control plane, and says how documents name it.
import { Button, FileButton } from "@mantine/core";
import { artifact } from "../api/uploads";
import { busy } from "../api/upload";
import { useStore } from "../api/store";
import { bytes } from "../lib/words";
import { CopyButton } from "./Copy";
import { Notice } from "./Notice";
import { Sending } from "./Sending";

export function PushArtifact() {
  const now = useStore(artifact.now);
  return (
    <div className="hf-stack">
      <p>A file that a workload executes: a program that needs no libraries, or a script with its <span className="hf-mono">#!</span> line. It is stored once, by its digest; the devices that are to run it fetch it from here.</p>
      {!busy(now) && (
        <div>
          <FileButton onChange={(file) => { if (file) void artifact.send(file); }}>
            {(props) => <Button {...props} {...(now.kind === "done" ? { variant: "default" } : {})}>{now.kind === "none" ? "Choose a file and push it" : "Push another file"}</Button>}
          </FileButton>
        </div>
      )}
      <Sending of={now} not="Not stored" storing="The control plane writes it to its disk." />
      {now.kind === "done" && <Stored name={now.name} size={now.answer.size} digest={now.answer.digest} />}
    </div>
  );
}

function Stored({ name, size, digest }: { name: string; size: number; digest: string }) {
  const line = `artifact: ${digest}`;
  return (
    <section className="hf-stack" aria-label="The stored artifact">
      <Notice tone="good" title={`${name} is stored`}>{bytes(size)}. The same bytes have the same digest: pushing them again changes nothing.</Notice>
      <div className="hf-stack hf-tight">
        <div className="hf-row hf-spread"><strong>Digest</strong><CopyButton text={digest}>Copy the digest</CopyButton></div>
        <span className="hf-mono" data-testid="digest">{digest}</span>
      </div>
      <div className="hf-stack hf-tight">
        <div className="hf-row hf-spread"><strong>The line of the document</strong><CopyButton text={line}>Copy the line</CopyButton></div>
        <p className="hf-kind">Below <span className="hf-mono">spec.run.process</span>, in the place of <span className="hf-mono">path</span>:</p>
        {/* eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- it scrolls: the keyboard needs a way in */}
        <pre className="hf-code" tabIndex={0} role="region" aria-label="The line of the document" data-testid="artifact-line">{line}</pre>
      </div>
    </section>
  );
}
