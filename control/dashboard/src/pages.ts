// THE table of pages. A page is one folder under `pages/` and one line here; the navigation, the
// router and Ctrl-K read it. See README.md.
import type { ComponentType } from "react";
import type { Action } from "./api/routes";

export interface Page {
  path: string;
  /** In the navigation, in Ctrl-K and (by itself) in the tab. */
  title: string;
  /** A sign of `ui/icons.tsx`; with it the page stands in the navigation. */
  icon?: string;
  /** Further words that find it in Ctrl-K; without, it is found by its title when it has an icon. */
  finds?: string;
  /** What it reads first: whoever may not sees why, in its place. */
  needs?: Action;
  load: () => Promise<{ default: ComponentType }>;
}

export const pages: readonly Page[] = [
  { path: "/", title: "Fleet", icon: "fleet", finds: "home overview attention sites", needs: "fleet.get", load: () => import("./pages/fleet") },
  { path: "/devices", title: "Devices", icon: "devices", finds: "list table label revoke", needs: "device.list", load: () => import("./pages/devices") },
  { path: "/devices/$name", title: "Device", needs: "device.get", load: () => import("./pages/device") },
  { path: "/compare", title: "Compare two devices", finds: "difference side by side beside", needs: "device.get", load: () => import("./pages/compare") },
  { path: "/workloads", title: "Workloads", icon: "workloads", finds: "list health", needs: "workload.list", load: () => import("./pages/workloads") },
  { path: "/workloads/$name", title: "Workload", needs: "workload.get", load: () => import("./pages/workload") },
  { path: "/images", title: "Images", icon: "images", finds: "container registry docker podman oci push pull copy tag layers", needs: "image.list", load: () => import("./pages/images") },
  { path: "/images/$name", title: "Image", needs: "image.list", load: () => import("./pages/image") },
  { path: "/notifications", title: "Alarms", icon: "alarms", finds: "notification webhook mail smtp alertmanager acknowledge silence mute", needs: "alarm.list", load: () => import("./pages/notifications") },
  { path: "/notifications/$name", title: "Notification", needs: "policy.get", load: () => import("./pages/notification") },
  { path: "/devicepolicies", title: "Device policies", finds: "away offline expected ignore absence ship alarm after", needs: "policy.list", load: () => import("./pages/away") },
  { path: "/devicepolicies/$name", title: "Device policy", needs: "policy.get", load: () => import("./pages/devicepolicy") },
  { path: "/data", title: "Data", icon: "data", finds: "streams chart records query ask export parquet", needs: "stream.list", load: () => import("./pages/data") },
  { path: "/policies", title: "Policies and secrets", icon: "policies", finds: "secret secrets password config configuration data policies stream streams link budget budgets satellite retention priority ship quota ttl", needs: "policy.list", load: () => import("./pages/policies") },
  { path: "/policies/new", title: "New data policy", finds: "new create secret config stream link budget", needs: "document.apply", load: () => import("./pages/policy-new") },
  { path: "/policies/$kind/$name", title: "Data policy", needs: "policy.get", load: () => import("./pages/policy") },
  { path: "/apply", title: "Apply a workload", finds: "new create yaml editor", needs: "document.apply", load: () => import("./pages/apply") },
  { path: "/artifact", title: "Push an artifact", finds: "upload file program binary digest store", needs: "artifact.put", load: () => import("./pages/artifact") },
  { path: "/enrolment", title: "Enrolment", icon: "enrolment", finds: "token new device approve waiting qr", needs: "token.list", load: () => import("./pages/enrolment") },
  { path: "/activity", title: "Activity", icon: "activity", finds: "audit log who did what", needs: "activity.list", load: () => import("./pages/activity") },
  { path: "/settings", title: "Settings", icon: "settings", finds: "people users roles bindings access tokens sessions tenants quotas my account password second factor ca certificate backup restore version licences", load: () => import("./pages/settings") },
];
