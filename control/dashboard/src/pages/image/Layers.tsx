// The content of an image for one kind of machine: its layers, the lowest first, and who shares them.
import type { components } from "../../api/schema";
import { placeOfImage } from "../../lib/images";
import { bytes, count } from "../../lib/words";
import { Card } from "../../ui/Card";
import { Digest } from "../../ui/Digest";
import { PageLink } from "../../ui/PageLink";

/** Other images that a layer names. The control plane names ten at most. */
const NAMED = 5;

export function Layers({ of: { platform, digest, config, layers } }: { of: components["schemas"]["ImagePlatform"] }) {
  return (
    <Card title={platform} aside={<span className="hf-kind">{count(layers.length, "layer")}</span>}>
      <dl className="hf-facts">
        <dt>Manifest</dt><dd><Digest of={digest} what={`the manifest for ${platform}`} /></dd>
        <dt>Configuration</dt><dd><Digest of={config} what={`the configuration for ${platform}`} /> <span className="hf-kind">Most engines call the image by this digest</span></dd>
      </dl>
      {layers.length === 0 ? <p>It has no layer.</p> : (
        <table className="hf-table hf-folds">
          <thead><tr><th>Layer</th><th className="hf-number">Size</th><th>Shared with</th></tr></thead>
          <tbody>
            {layers.map((layer, index) => (
              <tr key={`${index} ${layer.digest}`}>
                <td><Digest of={layer.digest} what={`layer ${index + 1}`} /></td>
                <td className="hf-number hf-nowrap" data-label="Size">{bytes(layer.size)}</td>
                <td data-label="Shared with"><Sharing of={layer.sharedWith ?? []} /></td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </Card>
  );
}

function Sharing({ of }: { of: readonly string[] }) {
  if (of.length === 0) return <span className="hf-kind">no other image</span>;
  return (
    <span>
      {of.slice(0, NAMED).map((name, index) => <span key={name}>{index > 0 && ", "}<PageLink {...placeOfImage(name)}>{name}</PageLink></span>)}
      {of.length > NAMED && <span className="hf-kind" title={of.slice(NAMED).join(", ")}> and {of.length - NAMED} more</span>}
    </span>
  );
}
