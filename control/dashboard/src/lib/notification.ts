// Examples of notifications, and the part of one that is edited.
import type { Json } from "./merge";

export const RECEIVERS = [
  { value: "webhook", label: "Webhook" },
  { value: "email", label: "Mail" },
  { value: "alertmanager", label: "Alertmanager" },
] as const;

/** Address of the page of a notification. */
export const notificationAt = (name: string) => `/notifications/${encodeURIComponent(name)}`;

export type Receiver = (typeof RECEIVERS)[number]["value"];

const TO: Record<Receiver, string> = {
  webhook: `    webhook:
      url: https://example.com/holdfast
      secret: change-this-secret
`,
  email: `    email:
      smtp: smtp://mail.example.com:587
      username: holdfast
      password: change-this-password
      from: holdfast@example.com
      to:
        - duty@example.com
`,
  alertmanager: `    alertmanager:
      url: http://alertmanager.example.com:9093
`,
};

export function exampleOf(receiver: Receiver): string {
  return `apiVersion: holdfast/v1
kind: Notification
metadata:
  name: duty-${receiver}
spec:
  devices: all
  severity: critical
  groupBy:
    - site
    - kind
  delay: 2m
  to:
${TO[receiver]}`;
}

interface Read {
  apiVersion: string;
  kind: string;
  metadata: { name: string; labels?: Record<string, string> };
  spec?: unknown;
}

/** The document as it is applied again: secrets in it are hidden and stay as they are. */
export function editable({ apiVersion, kind, metadata, spec }: Read): Json {
  const labels = metadata.labels ?? {};
  return { apiVersion, kind, metadata: { name: metadata.name, ...(Object.keys(labels).length > 0 ? { labels } : {}) }, spec: (spec ?? {}) as Json };
}
