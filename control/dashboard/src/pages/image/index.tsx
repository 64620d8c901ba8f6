// The images of one name: which there are, and of one of them its content, who uses it and who
// shares it.
import { Button } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import * as read from "../../api/queries";
import type { Image, ImageSummary } from "../../api/types";
import { chosen, imageAt, nameOf, ofRepository, sharedOf, short } from "../../lib/images";
import { bytes, count } from "../../lib/words";
import { Card } from "../../ui/Card";
import { Digest } from "../../ui/Digest";
import { Loading } from "../../ui/Loading";
import { Failed, Notice } from "../../ui/Notice";
import { PageHead } from "../../ui/PageHead";
import { PageLink, workloadAt } from "../../ui/PageLink";
import { ActButton } from "../../ui/rights";
import { Tags } from "../../ui/Tags";
import { Time } from "../../ui/Time";
import { useName } from "../../ui/useName";
import { useSearch } from "../../ui/useSearch";
import { AddTag } from "./AddTag";
import { Delete } from "./Delete";
import { Layers } from "./Layers";
import { Pull } from "./Pull";

export default function ImagePage() {
  const name = useName();
  const [search] = useSearch();
  const { data, error, refetch } = useQuery(read.images());
  const held = ofRepository(data?.items ?? [], name);
  const image = chosen(held, search.image);
  return (
    <div className="hf-stack">
      {/* Another image is another page to whoever hears it. */}
      {image ? <Shown key={image.digest} of={image} /> : <PageHead title={name} />}
      {!data && (error ? <Failed error={error} what="The images could not be read" retry={() => void refetch()} /> : <Loading rows={8} />)}
      {data && held.length === 0 && <Notice tone="idle" title={`There is no image ${name}`}>{data.metadata?.continue && <p>There are more images than this page reads.</p>}<PageLink to="/images">To the images</PageLink></Notice>}
      {data && held.length > 0 && !image && <Notice tone="idle" title={`${name} has no image ${search.image ?? ""}`}>It was deleted, or the tag is gone. Those below are here.</Notice>}
      {held.length > (image ? 1 : 0) && <Others all={held} shown={image} />}
    </div>
  );
}

function Shown({ of }: { of: ImageSummary }) {
  const [open, setOpen] = useState<"tag" | { delete: string }>();
  const { data, error, refetch } = useQuery(read.image(of.name, of.digest));
  const close = () => setOpen(undefined);
  return (
    <>
      <PageHead title={nameOf(of)}>
        <ActButton may="image.tag" size="xs" variant="default" onClick={() => setOpen("tag")}>Tag…</ActButton>
        <ActButton may="image.delete" size="xs" color="red" variant="outline" onClick={() => setOpen({ delete: "" })}>Delete…</ActButton>
      </PageHead>
      {!data && (error ? <Failed error={error} what="The image could not be read" retry={() => void refetch()} /> : <Loading rows={8} />)}
      {data && (
        <>
          <div className="hf-grid">
            <Facts of={data} deleteTag={(tag) => setOpen({ delete: tag })} />
            <div className="hf-stack">
              <Users of={data} />
              <Pull name={data.name} tag={data.tags[0]} digest={data.digest} />
            </div>
          </div>
          {data.platforms.map((platform) => <Layers key={platform.platform} of={platform} />)}
        </>
      )}
      {open === "tag" && <AddTag name={of.name} digest={of.digest} close={close} />}
      {typeof open === "object" && data && <Delete image={data} tag={open.delete || undefined} close={close} />}
    </>
  );
}

function Facts({ of, deleteTag }: { of: Image; deleteTag: (tag: string) => void }) {
  const shared = sharedOf(of);
  return (
    <Card title="Image">
      <dl className="hf-facts">
        <dt>Tags</dt>
        <dd>
          {of.tags.length === 0 ? "none: it is named by its digest" : (
            <ul className="hf-list hf-tight">
              {of.tags.map((tag) => (
                <li key={tag} className="hf-row hf-tight">
                  <span className="hf-label">{tag}</span>
                  {of.tags.length > 1 && <ActButton may="image.delete" size="compact-xs" variant="subtle" aria-label={`Delete the tag ${tag}`} onClick={() => deleteTag(tag)}>Delete…</ActButton>}
                </li>
              ))}
            </ul>
          )}
        </dd>
        <dt>Digest</dt><dd><Digest of={of.digest} what="the image" whole /></dd>
        {of.sources.length > 0 && <><dt>Digests elsewhere</dt><dd><span className="hf-kind">As it was pushed or copied, before its layers were unpacked</span>{of.sources.map((source) => <Digest key={source} of={source} what="the original" whole />)}</dd></>}
        <dt>Size</dt><dd>{bytes(of.size)}, unpacked{shared > 0 ? `; ${bytes(shared)} of it are shared with other images` : "; no other image shares any of it"}</dd>
        <dt>Platforms</dt><dd>{of.platforms.map(({ platform }) => platform).join(", ")}</dd>
        <dt>Pushed</dt><dd><Time at={of.pushedAt} /></dd>
        {of.copiedFrom && <><dt>Copied from</dt><dd className="hf-mono">{of.copiedFrom}</dd></>}
      </dl>
    </Card>
  );
}

/** Workloads before one asks for more. */
const FIRST = 15;

function Users({ of: { workloads } }: { of: Image }) {
  const [all, setAll] = useState(false);
  return (
    <Card title="Workloads that use it">
      {workloads.length === 0 ? <p>No revision of a workload names it.</p> : (
        <>
          <p className="hf-kind">A revision of each of them names this image, the present one or a former one.</p>
          <ul>{(all ? workloads : workloads.slice(0, FIRST)).map((name) => <li key={name}><PageLink to={workloadAt(name)}>{name}</PageLink></li>)}</ul>
        </>
      )}
      {!all && workloads.length > FIRST && <div><Button size="xs" variant="default" onClick={() => setAll(true)}>Show all {workloads.length}</Button></div>}
    </Card>
  );
}

/** All images of this name, the newest first. */
function Others({ all, shown }: { all: readonly ImageSummary[]; shown: ImageSummary | undefined }) {
  return (
    <Card title={`All images of ${all[0]?.name ?? ""}`} aside={<span className="hf-kind">{count(all.length, "image")}</span>}>
      <table className="hf-table hf-folds">
        <thead><tr><th>Digest</th><th>Tags</th><th className="hf-number">Size</th><th className="hf-number">Workloads</th><th>Pushed</th></tr></thead>
        <tbody>
          {all.map((image) => (
            <tr key={image.digest}>
              <td><PageLink className="hf-mono" {...imageAt(image.name, image.digest)} title={image.digest} {...(image.digest === shown?.digest ? { "aria-current": "true" as const } : {})}>{short(image.digest)}</PageLink>{image.digest === shown?.digest && <span className="hf-kind"> shown above</span>}</td>
              <td data-label="Tags"><Tags name={image.name} tags={image.tags} /></td>
              <td className="hf-number hf-nowrap" data-label="Size">{bytes(image.size)}</td>
              <td className="hf-number" data-label="Workloads">{image.workloads === 0 ? "none" : image.workloads.toLocaleString("en")}</td>
              <td data-label="Pushed" className="hf-nowrap"><Time at={image.pushedAt} /></td>
            </tr>
          ))}
        </tbody>
      </table>
    </Card>
  );
}
