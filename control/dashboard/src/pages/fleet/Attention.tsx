// What needs a person, the most severe first and then what began first; it stands still while it lasts.
import type { Fleet } from "../../api/types";
import { Attention as Item } from "../../ui/Attention";
import { Card } from "../../ui/Card";
import { PageLink } from "../../ui/PageLink";

export function Attention({ of: { attention, moreAttention, devices, settled, summary } }: { of: Fleet }) {
  return (
    <Card title="Needs attention" aside={<PageLink to="/notifications">All alarms</PageLink>}>
      {attention.length === 0 ? (
        // Reassurance stands beside no red number.
        <p>{devices.total === 0 ? "Nothing yet." : settled ? `Nothing: ${summary}.` : `No alarm yet, and not all is well: ${summary}.`}</p>
      ) : (
        <ul className="hf-list">{attention.map((item) => <li key={`${item.kind} ${item.code ?? ""} ${item.severity}`}><Item item={item} /></li>)}</ul>
      )}
      {moreAttention > 0 && <p className="hf-kind">and {moreAttention.toLocaleString("en")} more, less urgent</p>}
    </Card>
  );
}
