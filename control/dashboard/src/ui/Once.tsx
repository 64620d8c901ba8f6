// A secret that is shown once: to be copied, and gone with "Done".
import { Button } from "@mantine/core";
import { CopyButton } from "./Copy";
import { Notice } from "./Notice";

export function Once({ secret, testId, close, children }: { secret: string; testId: string; close: () => void; children?: React.ReactNode }) {
  return (
    <Notice tone="warn" title="This is the only time that it is shown">
      <div className="hf-stack hf-tight">
        {children}
        <span className="hf-mono" data-testid={testId}>{secret}</span>
        <div className="hf-row"><CopyButton text={secret} /><Button size="xs" variant="default" onClick={close}>Done</Button></div>
      </div>
    </Notice>
  );
}
