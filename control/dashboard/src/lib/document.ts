// A workload's document as YAML for people: keys in the order in which one thinks, and nothing
// that the server adds by itself.
import { Document, isMap, isScalar, visit } from "yaml";

const ORDER = [
  "apiVersion", "kind", "metadata", "spec", "name", "labels",
  "devices", "severity", "kinds", "groupBy", "delay", "groupWait", "groupInterval", "repeat", "sendResolved", "link", "to", "run", "config", "files", "onSecretChange", "resources", "restart", "health", "stop", "bus", "windows", "download", "switch", "data",
  "matchLabels", "matchExpressions", "key", "operator", "values",
  "process", "container", "group", "containers", "path", "artifact", "image", "volume", "file", "readOnly", "command", "args", "env", "user", "workdir",
  "ports", "network", "networks", "mounts", "devices", "gpus", "writableRoot", "capabilities", "seccomp", "timeZone", "dns", "hosts", "init", "after", "until",
  "cpu", "memory", "pids", "policy", "backoff", "initial", "max",
  "http", "tcp", "exec", "host", "port", "command", "startPeriod", "interval", "timeout", "failures",
  "signal", "grace", "webhook", "email", "alertmanager", "url", "secretUrl", "secret", "template", "generate", "length", "alphabet", "sha256", "changedAt", "base64", "smtp", "tls", "username", "password", "from", "headers", "ca", "subscribe", "publish",
];
/** The keys below these are the operator's own: they stay by name. */
const OWN = new Set(["labels", "matchLabels", "env", "config", "files", "data", "headers", "hosts"]);

function sorted(value: unknown, own = false): unknown {
  if (Array.isArray(value)) return value.map((item) => sorted(item));
  if (typeof value !== "object" || value === null) return value;
  const place = (key: string) => (own ? -1 : ORDER.indexOf(key));
  const rank = (key: string) => (place(key) < 0 ? ORDER.length : place(key));
  const entries = Object.entries(value).sort(([a], [b]) => rank(a) - rank(b) || (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, below]) => [key, sorted(below, OWN.has(key))]));
}

/** Any value as YAML; texts with several lines as blocks. */
export function toYaml(value: unknown): string {
  const document = new Document(sorted(value));
  visit(document, {
    Scalar(_key, node) {
      if (isScalar(node) && typeof node.value === "string" && node.value.includes("\n")) node.type = "BLOCK_LITERAL";
    },
    Collection(_key, node) {
      if (isMap(node)) node.flow = false;
    },
  });
  return document.toString({ lineWidth: 0, aliasDuplicateObjects: false } as Parameters<typeof document.toString>[0]);
}

interface Written {
  apiVersion: string;
  kind: string;
  metadata: { name: string; labels?: Record<string, string> };
  spec?: unknown;
}

/** The part of a document that one edits and applies. */
export function editable(workload: Written): { apiVersion: string; kind: string; metadata: { name: string; labels?: Record<string, string> }; spec: unknown } {
  const labels = workload.metadata.labels ?? {};
  return {
    apiVersion: workload.apiVersion,
    kind: workload.kind,
    metadata: { name: workload.metadata.name, ...(Object.keys(labels).length > 0 ? { labels } : {}) },
    spec: workload.spec ?? {},
  };
}
