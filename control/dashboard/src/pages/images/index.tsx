// All images of the control plane's registry, and the ways in which they get here.
import { Button, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import * as read from "../../api/queries";
import { found, imageAt, sharedOf, short } from "../../lib/images";
import { bytes, count } from "../../lib/words";
import { Icon } from "../../ui/icons";
import { Loading } from "../../ui/Loading";
import { Failed, Notice } from "../../ui/Notice";
import { PageHead } from "../../ui/PageHead";
import { PageLink } from "../../ui/PageLink";
import { Tags } from "../../ui/Tags";
import { Time } from "../../ui/Time";
import { useSearch } from "../../ui/useSearch";
import { Copy, CopyState } from "./Copy";
import { Push } from "./Push";

/** Rows that are drawn at once; more are found by their name. */
const MOST = 500;

export default function Images() {
  const [search, setSearch] = useSearch();
  const { data, error, refetch } = useQuery(read.images());
  const q = (search.q ?? "").trim();
  const all = data?.items ?? [];
  const shown = found(all, q);
  const isWhole = !data?.metadata?.continue;
  const words = `${isWhole ? "" : "the first "}${count(all.length, "image")}`;
  const open = (what: string) => setSearch({ new: search.new === what ? undefined : what });
  return (
    <div className="hf-stack">
      <PageHead title="Images" aside={data && <span className="hf-kind" role="status">{q ? `${shown.length.toLocaleString("en")} of ${words}` : words}</span>}>
        <Button size="xs" variant="default" aria-expanded={search.new === "push"} onClick={() => open("push")}>Push an image</Button>
        <Button size="xs" variant="default" aria-expanded={search.new === "copy"} onClick={() => open("copy")}>Copy from a registry</Button>
      </PageHead>
      {search.new === "push" && <Push close={() => setSearch({ new: undefined })} />}
      {search.new === "copy" && <Copy close={() => setSearch({ new: undefined })} />}
      <CopyState />
      {(all.length > 5 || q !== "") && <div><TextInput aria-label="Find by name, tag or digest" placeholder="Name, tag or digest" leftSection={<Icon name="search" />} value={search.q ?? ""} onChange={(event) => setSearch({ q: event.currentTarget.value })} w={260} maw="100%" spellCheck={false} /></div>}
      {!data && (error ? <Failed error={error} what="The images could not be read" retry={() => void refetch()} /> : <Loading />)}
      {data && all.length === 0 && <Notice tone="move" title="No image yet">Containers run images that are kept here: devices fetch them from the control plane, and from no other registry. The next step: push one, or have one copied from another registry.</Notice>}
      {all.length > 0 && shown.length === 0 && <Notice tone="idle" title="No image is like that"><Button variant="default" size="xs" onClick={() => setSearch({ q: undefined })}>Take the filter away</Button></Notice>}
      {shown.length > 0 && (
        <div className="hf-card">
          <table className="hf-table hf-folds">
            <thead><tr><th>Name</th><th>Tags</th><th>Digest</th><th className="hf-number">Size</th><th className="hf-number">Shared with others</th><th>Platforms</th><th className="hf-number">Workloads</th><th>Pushed</th></tr></thead>
            <tbody>
              {shown.slice(0, MOST).map((image) => (
                <tr key={`${image.name}@${image.digest}`}>
                  <td><PageLink className="hf-cut" {...imageAt(image.name, image.digest)} title={image.name}>{image.name}</PageLink></td>
                  <td data-label="Tags"><Tags name={image.name} tags={image.tags} /></td>
                  <td data-label="Digest"><span className="hf-mono" title={image.digest}>{short(image.digest)}</span></td>
                  <td className="hf-number hf-nowrap" data-label="Size">{bytes(image.size)}</td>
                  <td className="hf-number hf-nowrap" data-label="Shared with others">{sharedOf(image) === 0 ? "nothing" : bytes(sharedOf(image))}</td>
                  <td data-label="Platforms"><span>{image.platforms.join(", ")}</span></td>
                  <td className="hf-number" data-label="Workloads">{image.workloads === 0 ? "none" : image.workloads.toLocaleString("en")}</td>
                  <td data-label="Pushed" className="hf-nowrap"><Time at={image.pushedAt} /></td>
                </tr>
              ))}
            </tbody>
          </table>
          {shown.length > MOST && <p className="hf-kind">and {(shown.length - MOST).toLocaleString("en")} more: find them by name</p>}
        </div>
      )}
      {!isWhole && <p className="hf-kind">There are more images than this page reads.</p>}
    </div>
  );
}
