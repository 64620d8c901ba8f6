// Vite plugins of the build: licences of the packages inside, compressed forms, first-load bound.
// See decision 0114.
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const TEXT = /\.(js|css|html|svg|json|txt)$/;

/** Writes `licences.json`: every package whose code went into a chunk, with its licence. */
export function licences() {
  return {
    name: "holdfast-licences",
    apply: "build",
    generateBundle(_options, bundle) {
      const found = new Map();
      for (const chunk of Object.values(bundle)) {
        for (const id of Object.keys(chunk.modules ?? {})) add(found, id.replace(/^\0/, "").replace(/\?.*$/, ""));
      }
      // Style sheets are not modules of a chunk any more when it is written.
      for (const name of ["@mantine/core", "uplot"]) add(found, join(process.cwd(), "node_modules", name, "package.json"));
      const items = [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
      this.emitFile({ type: "asset", fileName: "licences.json", source: `${JSON.stringify({ items }, null, 1)}\n` });
    },
  };
}

function add(found, id) {
  if (!id.includes("/node_modules/")) return;
  for (let folder = dirname(id); folder.includes("/node_modules/"); folder = dirname(folder)) {
    const file = join(folder, "package.json");
    if (!existsSync(file)) continue;
    const { name, version, license } = JSON.parse(readFileSync(file, "utf8"));
    if (!name || !version) continue;
    const text = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
    found.set(`${name}@${version}`, {
      name,
      version,
      licence: typeof license === "string" ? license : (license?.type ?? "unknown"),
      ...(text && statSync(join(folder, text)).isFile() ? { text: readFileSync(join(folder, text), "utf8") } : {}),
    });
    return;
  }
}

/** Leaves out the rules of components that no chunk has: Mantine's style sheet is that of all its
 * components, whose classes are `m_` and a digest. */
export function usedStyles() {
  return {
    name: "holdfast-used-styles",
    apply: "build",
    enforce: "post",
    generateBundle(_options, bundle) {
      const files = Object.values(bundle);
      const code = files.filter(({ type }) => type === "chunk").map((chunk) => chunk.code).join("\n");
      const used = new Set(code.match(/\bm_[0-9a-f]+\b/g));
      for (const file of files) {
        if (file.type === "asset" && file.fileName.endsWith(".css")) file.source = pruned(String(file.source), used);
      }
    },
  };
}

/** The rules of a style sheet without those whose every selector is of components that are not used. */
function pruned(css, used) {
  let out = "";
  for (let at = 0; at < css.length; ) {
    const open = css.indexOf("{", at);
    const end = css.indexOf(";", at);
    if (open < 0 || (end >= 0 && end < open)) {
      // An at-rule without a block.
      const next = end < 0 ? css.length : end + 1;
      out += css.slice(at, next);
      at = next;
      continue;
    }
    let close = open + 1;
    for (let depth = 1; depth > 0 && close < css.length; close++) depth += css[close] === "{" ? 1 : css[close] === "}" ? -1 : 0;
    const prelude = css.slice(at, open);
    const body = css.slice(open + 1, close - 1);
    if (/^\s*@(media|supports|layer|container)/.test(prelude)) {
      const inner = pruned(body, used);
      if (inner.trim() !== "") out += `${prelude}{${inner}}`;
    } else {
      const classes = prelude.match(/\.m_[0-9a-f]+/g) ?? [];
      if (classes.length === 0 || classes.some((name) => used.has(name.slice(1)))) out += css.slice(at, close);
    }
    at = close;
  }
  return out;
}

/** Writes `.br` and `.gz` beside every text file of the build. */
export function compressed() {
  let out = "dist";
  return {
    name: "holdfast-compressed",
    apply: "build",
    configResolved(config) {
      out = config.build.outDir;
    },
    closeBundle: {
      order: "pre",
      sequential: true,
      handler() {
        for (const file of files(out)) {
          const bytes = readFileSync(file);
          const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length };
          writeFileSync(`${file}.br`, brotliCompressSync(bytes, { params }));
          writeFileSync(`${file}.gz`, gzipSync(bytes, { level: 9 }));
        }
      },
    },
  };
}

function* files(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory() && entry.name !== ".vite") yield* files(path);
    else if (entry.isFile() && TEXT.test(entry.name)) yield path;
  }
}

/** Adds up what the first visit of `pages` loads, and what the login form before it does, and fails above
 * `limit` and `login` bytes. */
export function firstLoad({ pages, limit, login }) {
  let out = "dist";
  return {
    name: "holdfast-first-load",
    apply: "build",
    configResolved(config) {
      out = config.build.outDir;
    },
    closeBundle: {
      order: "post",
      sequential: true,
      handler() {
        const manifest = JSON.parse(readFileSync(join(out, ".vite/manifest.json"), "utf8"));
        const wanted = new Set(["index.html"]);
        const visit = (key) => {
          const chunk = manifest[key];
          if (!chunk) throw new Error(`first load: ${key} is not in the build's manifest`);
          for (const file of [chunk.file, ...(chunk.css ?? [])]) wanted.add(file);
          for (const below of chunk.imports ?? []) visit(below);
        };
        const sum = (suffix) => [...wanted].reduce((all, file) => all + statSync(join(out, file + suffix)).size, 0);
        visit("index.html");
        const form = sum(".gz");
        for (const page of pages) visit(page);
        const [brotli, gzip] = [sum(".br"), sum(".gz")];
        const kib = (bytes) => `${(bytes / 1024).toFixed(1)} KiB`;
        // It is of no use to a browser, and what is in dist/ is embedded.
        rmSync(join(out, ".vite"), { recursive: true });
        console.log(`first load: ${kib(brotli)} brotli, ${kib(gzip)} gzip, ${wanted.size} files (at most ${kib(limit)})`);
        console.log(`login form: ${kib(form)} gzip (at most ${kib(login)})`);
        if (form > login) throw new Error(`the login form needs more than ${kib(login)}: main.ts must import next to nothing`);
        if (Math.max(brotli, gzip) > limit) throw new Error(`the first load is above ${kib(limit)}`);
      },
    },
  };
}
