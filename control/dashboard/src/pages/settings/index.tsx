// Settings: the control plane itself, who may use it and how, and one's own account.
import { PageHead } from "../../ui/PageHead";
import { Tabs } from "../../ui/Tabs";
import { useSearch } from "../../ui/useSearch";
import { AccessTokens } from "./AccessTokens";
import { Me } from "./Me";
import { People } from "./People";
import { Plane } from "./Plane";
import { Roles } from "./Roles";
import { Sessions } from "./Sessions";
import { Tenants } from "./Tenants";

const PARTS: Parameters<typeof Tabs>[0]["parts"] = [
  { key: "plane", title: "Control plane", show: () => <Plane /> },
  { key: "people", title: "People", needs: "user.list", anew: ["new"], show: () => <People /> },
  { key: "roles", title: "Roles", needs: "policy.list", anew: ["new"], show: () => <Roles /> },
  { key: "access", title: "Access tokens", needs: "access.list", anew: ["new"], show: () => <AccessTokens /> },
  { key: "sessions", title: "Sessions", needs: "session.list", anew: ["new"], show: () => <Sessions /> },
  { key: "tenants", title: "Tenants", needs: "tenant.list", anew: ["new"], show: () => <Tenants /> },
  { key: "me", title: "My account", anew: ["new"], show: () => <Me /> },
];

export default function Settings() {
  const [search] = useSearch();
  // An address of before there were tabs, and what Ctrl-K opens.
  const first = search.tab === undefined && search.new !== undefined ? ({ access: "access", user: "people" } as Record<string, string>)[search.new] : undefined;
  return (
    <div className="hf-stack">
      <PageHead title="Settings" />
      <Tabs label="Parts of the settings" parts={PARTS} {...(first ? { otherwise: first } : {})} />
    </div>
  );
}
