// Data of the whole fleet: a chart of any stream, and questions that devices answer where the data
// lies.
import { PageHead } from "../../ui/PageHead";
import { Tabs } from "../../ui/Tabs";
import { AskFleet } from "./AskFleet";
import { AllStreams } from "./AllStreams";

export default function Data() {
  return (
    <div className="hf-stack">
      <PageHead title="Data" />
      <Tabs label="Data" parts={[
        { key: "streams", title: "Streams", show: () => <AllStreams /> },
        { key: "ask", title: "Ask the fleet", needs: "query.ask", show: () => <AskFleet /> },
      ]} />
    </div>
  );
}
