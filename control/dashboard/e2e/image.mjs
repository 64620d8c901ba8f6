// Images of tests, built without any engine: archives as `docker save` writes them, pushed by the
// command line as a person does.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { BIN } from "./world.mjs";

export const sha256 = (bytes) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

/** A tar of files: `[path, content]`. */
export function tar(files) {
  const pieces = [];
  for (const [path, content] of files) {
    const bytes = Buffer.from(content);
    const head = Buffer.alloc(512);
    head.write(path, 0);
    head.write("0000644\0", 100);
    head.write("0000000\0", 108);
    head.write("0000000\0", 116);
    head.write(`${bytes.length.toString(8).padStart(11, "0")}\0`, 124);
    head.write("00000000000\0", 136);
    head.write("        ", 148);
    head.write("0", 156);
    head.write("ustar\x0000", 257);
    const sum = head.reduce((all, byte) => all + byte, 0);
    head.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
    pieces.push(head, bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512));
  }
  return Buffer.concat([...pieces, Buffer.alloc(1024)]);
}

/** An archive of one image; each of `layers` is the content of its one file. */
export function archive(layers, architecture = "amd64") {
  const tars = layers.map((content, index) => tar([[`file-${index}`, content]]));
  const ids = tars.map(sha256);
  const config = Buffer.from(JSON.stringify({ architecture, os: "linux", config: { Entrypoint: ["/file-0"] }, rootfs: { type: "layers", diff_ids: ids }, history: ids.map(() => ({ created_by: "a test" })) }));
  const name = `${sha256(config).slice(7)}.json`;
  const manifest = JSON.stringify([{ Config: name, RepoTags: null, Layers: tars.map((_, index) => `${index}.tar`) }]);
  return { bytes: tar([["manifest.json", manifest], [name, config], ...tars.map((bytes, index) => [`${index}.tar`, bytes])]), config: sha256(config), layers: ids };
}

let number = 0;

/** Pushes an image under a name; gives what the command line prints, NAME@DIGEST. */
export function push(world, name, image) {
  const file = world.file(`image-${++number}.tar`, image.bytes);
  const env = { ...process.env, HOLDFAST_URL: world.url, HOLDFAST_TOKEN: world.token, HOLDFAST_CA: world.ca };
  return execFileSync(join(BIN, "holdfast"), ["image", "push", file, name], { env, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trim();
}

/** A document that runs an image. */
export function container(name, image, labels = { role: "gateway" }) {
  return { apiVersion: "holdfast/v1", kind: "Workload", metadata: { name }, spec: { devices: { matchLabels: labels }, run: { container: { image } } } };
}

/** A document that runs several, on devices that there are none of unless that is said. */
export function group(name, containers, labels = { role: "nobody" }) {
  return { apiVersion: "holdfast/v1", kind: "Workload", metadata: { name }, spec: { devices: { matchLabels: labels }, run: { group: { containers } } } };
}
