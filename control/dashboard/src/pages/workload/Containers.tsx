// The containers of a workload: which image each runs, exactly, and what it waits for.
import { containersOf, placeOfImage, referenceOf } from "../../lib/images";
import { count } from "../../lib/words";
import { Card } from "../../ui/Card";
import { Digest } from "../../ui/Digest";
import { PageLink } from "../../ui/PageLink";

/** Nothing where the workload is a process. */
export function Containers({ spec }: { spec: unknown }) {
  const all = containersOf(spec);
  const isGroup = all.some(({ name }) => name !== undefined);
  if (all.length === 0) return null;
  return (
    <Card title={isGroup ? "Containers" : "Container"} aside={isGroup && <span className="hf-kind">{count(all.length, "container")}, started in order, stopped and changed together</span>}>
      <table className="hf-table hf-folds">
        <thead><tr>{isGroup && <th>Container</th>}<th>Image</th><th>Digest</th>{isGroup && <th>Starts after</th>}</tr></thead>
        <tbody>
          {all.map(({ name, image, after }, index) => {
            const { name: repository, tag, digest } = referenceOf(image);
            return (
              <tr key={name ?? index}>
                {isGroup && <td>{name}</td>}
                <td data-label="Image">{repository === "" ? "not known" : <PageLink className="hf-cut" {...placeOfImage(image)} title={image}>{repository}{tag ? `:${tag}` : ""}</PageLink>}</td>
                <td data-label="Digest">{digest ? <Digest of={digest} what={repository} /> : "not known"}</td>
                {isGroup && <td data-label="Starts after">{after.length > 0 && <span>{after.join(", ")}</span>}</td>}
              </tr>
            );
          })}
        </tbody>
      </table>
    </Card>
  );
}
