// The few signs that the pages use, drawn here: no icon font, no package.
const paths: Record<string, string> = {
  fleet: "M3 11l9-7 9 7M5 10v10h14V10M9 20v-6h6v6",
  devices: "M4 5h16v10H4zM9 19h6M12 15v4",
  workloads: "M12 3l8 4.5v9L12 21l-8-4.5v-9zM4 7.5l8 4.5 8-4.5M12 12v9",
  images: "M12 3l9 4.5-9 4.5-9-4.5zM3 12l9 4.5 9-4.5M3 16.5l9 4.5 9-4.5",
  data: "M4 4v16h16M7 16l4-6 3 3 5-7",
  policies: "M4 6h16M7 12h10M10 18h4",
  alarms: "M6 17V11a6 6 0 0112 0v6l2 2H4zM10 21h4",
  enrolment: "M12 5v14M5 12h14M3 3h18v18H3z",
  settings: "M4 7h10M18 7h2M4 17h2M10 17h10M14 4v6M6 14v6",
  activity: "M3 12h4l3-8 4 16 3-8h4",
  search: "M10.5 4a6.5 6.5 0 100 13 6.5 6.5 0 000-13zM15.5 15.5L21 21",
  sun: "M12 8a4 4 0 100 8 4 4 0 000-8zM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.4 1.4M17.6 17.6L19 19M5 19l1.4-1.4M17.6 6.4L19 5",
  moon: "M20 14.5A8.5 8.5 0 019.5 4 8.5 8.5 0 1020 14.5z",
  out: "M14 4h6v16h-6M10 8l-4 4 4 4M6 12h10",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  columns: "M4 4h16v16H4zM10 4v16M15 4v16",
  view: "M6 3h12v18l-6-5-6 5z",
  download: "M12 4v11M7 10l5 5 5-5M4 20h16",
  compare: "M4 5h6v14H4zM14 5h6v14h-6z",
  lock: "M6 11h12v9H6zM9 11V8a3 3 0 016 0v3",
  more: "M5 12h.01M12 12h.01M19 12h.01",
};

export function Icon({ name }: { name: string }) {
  return (
    <svg className="hf-icon" viewBox="0 0 24 24" fill="none" stroke="currentColor" strokeWidth={name === "more" ? 3 : 1.8} strokeLinecap="round" strokeLinejoin="round" aria-hidden="true">
      <path d={paths[name] ?? ""} />
    </svg>
  );
}
