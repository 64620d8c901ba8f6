// A further name of an image, or a further tag.
import { Button, TextInput } from "@mantine/core";
import { useState } from "react";
import { useNavigate } from "@tanstack/react-router";
import { reason } from "../../api/client";
import { tagImage } from "../../api/images";
import { placeOfImage, referenceOf } from "../../lib/images";
import { Dialog } from "../../ui/Dialog";
import { say } from "../../ui/say";

export function AddTag({ name, digest, close }: { name: string; digest: string; close: () => void }) {
  const [text, setText] = useState(`${name}:`);
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState("");
  const navigate = useNavigate();
  const lacks = referenceOf(text.trim()).tag ? undefined : "A tag is needed, such as stable";
  const go = async () => {
    if (lacks || busy) return;
    setBusy(true);
    setFailure("");
    try {
      await tagImage(`${name}@${digest}`, text.trim());
      say(`The image is ${text.trim()} as well`);
      close();
      void navigate(placeOfImage(text.trim()) as never);
    } catch (error) {
      setFailure(reason(error));
      setBusy(false);
    }
  };
  return (
    <Dialog title="Give it another tag" close={close}>
      <form className="hf-stack" onSubmit={(event) => { event.preventDefault(); void go(); }}>
        <TextInput className="hf-mono-input" label="Name with the tag" value={text} onChange={(event) => setText(event.currentTarget.value)} error={failure || undefined} autoComplete="off" spellCheck={false} data-autofocus />
        <p className="hf-kind">A tag that another image of that name has moves to this one. Workloads keep the image that they have: a revision holds its digest.</p>
        <div className="hf-row">
          <Button type="submit" disabled={lacks !== undefined} loading={busy} title={lacks}>Tag the image</Button>
          <Button variant="default" onClick={close}>Cancel</Button>
        </div>
      </form>
    </Dialog>
  );
}
