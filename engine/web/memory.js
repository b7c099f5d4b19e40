// One line of what the run has written down and, after a start, of what it brought back.

import { make, setText } from "/table.js";
import { age, count } from "/format.js";

const size = (bytes) => (bytes < 1e6 ? `${(bytes / 1e3).toFixed(0)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);

export function showMemory(box, state) {
  const { journal, recovery, blackbox } = state;
  box.hidden = !journal;
  if (!journal) return;
  const parts = [
    `session ${journal.session}`,
    recovery
      ? `back after ${age(recovery.away_s * 1000)} away: ${count(recovery.inputs)} inputs, ${count(recovery.facts)} facts in ${recovery.seconds.toFixed(1)} s`
      : "a new run",
    `journal ${size(journal.bytes)}`,
    journal.snapshot_age_s === null ? "no snapshot yet" : `snapshot ${age(journal.snapshot_age_s * 1000)} ago`,
  ];
  if (blackbox.packed) parts.push(`${count(blackbox.packed)} black box${blackbox.packed === 1 ? "" : "es"}`);
  const line = box.firstChild ?? make("span", "", "", box);
  setText(line, parts.join(" · "));
  line.title = [...(recovery?.remarks ?? []), ...(recovery?.changed ?? []), blackbox.last].filter(Boolean).join("\n");
}
