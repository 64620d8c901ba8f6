// The end of a tag, or of an image with all of its tags. One that revisions of workloads name is not
// deleted unless that is asked for.
import { Checkbox } from "@mantine/core";
import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { deleteImage } from "../../api/images";
import type { Image } from "../../api/types";
import { imageAt, nameOf } from "../../lib/images";
import { bytes, count, some } from "../../lib/words";
import { Confirm } from "../../ui/Confirm";
import { Notice } from "../../ui/Notice";
import { say } from "../../ui/say";

/** `tag`: that one alone; absent: the image. */
export function Delete({ image, tag, close }: { image: Image; tag: string | undefined; close: () => void }) {
  const [force, setForce] = useState(false);
  const navigate = useNavigate();
  const name = nameOf(image);
  const { workloads, tags } = image;
  if (tag !== undefined) {
    const run = async () => {
      await deleteImage(`${image.name}:${tag}`, false);
      say(`The tag ${image.name}:${tag} is deleted`);
      void navigate(imageAt(image.name, image.digest) as never);
    };
    return (
      <Confirm title={`Delete the tag ${tag}?`} act={`Delete the tag ${tag}`} run={run} close={close}>
        <p><strong>{image.name}:{tag}</strong> names no image any more. The image stays, with {some(tags.filter((one) => one !== tag))}.</p>
      </Confirm>
    );
  }
  const run = async () => {
    const { bytes: freed, files } = await deleteImage(`${image.name}@${image.digest}`, force);
    say(`${name} is deleted${files > 0 ? `: ${count(files, "file")}, ${bytes(freed)}` : ""}`);
    void navigate({ to: "/images" } as never);
  };
  return (
    <Confirm title={`Delete ${name}?`} act={`Delete ${name}`} typed={force ? image.name : undefined} run={run} close={close}>
      <div className="hf-stack hf-tight">
        <p><strong>{name}</strong> is deleted{tags.length > 1 ? ` with all of its tags: ${some(tags)}` : ""}. Layers that no other image and no workload needs go with it. Containers that run are not stopped.</p>
        {workloads.length > 0 && (
          <>
            <Notice tone="warn" title={`${count(workloads.length, "workload")} ${workloads.length === 1 ? "names" : "name"} it`}>Revisions of {some(workloads)} name this image: the control plane refuses to delete it as long as they are there.</Notice>
            <Checkbox label="Delete it all the same: the files that those revisions need stay, its name and its tags go" checked={force} onChange={(event) => setForce(event.currentTarget.checked)} />
          </>
        )}
      </div>
    </Confirm>
  );
}
