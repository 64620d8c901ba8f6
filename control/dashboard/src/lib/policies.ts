// Documents about data, secrets and configurations: their addresses, their kinds in words, and an
// example of each.

export type PolicyKind = "streams" | "linkbudgets" | "secrets" | "configs";

export interface KindWords {
  /** `kind` of the document. */
  kind: "Stream" | "LinkBudget" | "Secret" | "Config";
  one: string;
  many: string;
  about: string;
  example: string;
}

export const KINDS: Record<PolicyKind, KindWords> = {
  streams: {
    kind: "Stream",
    one: "stream policy",
    many: "stream policies",
    about: "What devices do with records: which are shipped and when, with which priority, how long and how many are kept.",
    example: `apiVersion: holdfast/v1
kind: Stream
metadata:
  name: pumps
spec:
  devices:
    matchLabels:
      role: gateway
  streams: [pump/*]
  priority: 5
  ttl: 7d
  quota: 64Mi
  ship: always
`,
  },
  linkbudgets: {
    kind: "LinkBudget",
    one: "link budget",
    many: "link budgets",
    about: "What a device's link may carry in a day or a month, and which part of it each class of traffic has.",
    example: `apiVersion: holdfast/v1
kind: LinkBudget
metadata:
  name: satellite
spec:
  devices:
    matchLabels:
      role: gateway
  per: day
  bytes: 100Mi
  shares:
    data: 60%
`,
  },
  secrets: {
    kind: "Secret",
    one: "secret",
    many: "secrets",
    about: "Values that nobody reads back, for workloads and notifications. A value that is not typed anew stays as it is.",
    example: `apiVersion: holdfast/v1
kind: Secret
metadata:
  name: database
spec:
  data:
    user: app
    password:
      generate:
        length: 32
`,
  },
  configs: {
    kind: "Config",
    one: "configuration",
    many: "configurations",
    about: "Values for workloads, for their environment and their files.",
    example: `apiVersion: holdfast/v1
kind: Config
metadata:
  name: app
spec:
  data:
    level: info
`,
  },
};

/** Whether documents of a kind have values that workloads refer to. */
export const hasValues = (kind: PolicyKind) => kind === "secrets" || kind === "configs";

/** The tab of the list where a kind stands. */
export const tabOf = (kind: PolicyKind) => ({ streams: undefined, linkbudgets: "budgets", secrets: "secrets", configs: "configs" })[kind];

export function kindOf(text: string | undefined): PolicyKind | undefined {
  return text !== undefined && Object.hasOwn(KINDS, text) ? (text as PolicyKind) : undefined;
}

/** Of a document's `kind`. */
export function kindOfDocument(kind: string): PolicyKind | undefined {
  return (Object.keys(KINDS) as PolicyKind[]).find((key) => KINDS[key].kind === kind);
}

export const policyAt = (kind: PolicyKind, name: string) => `/policies/${kind}/${encodeURIComponent(name)}`;
